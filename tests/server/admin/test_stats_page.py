"""Statistics for a browser."""

from __future__ import annotations

from pyproxy.server.admin.endpoint import Parameter
from pyproxy.server.admin.stats_page import stats_page

PARAMETERS = (
    Parameter("usedonly", "used"),
    Parameter("filter", "by regex"),
    Parameter("type", "kinds", ("All", "Counters")),
)


def test_what_was_asked_is_filled_in_again() -> None:
    page = stats_page("a: 1\n", {"usedonly": "", "filter": "<a>'", "type": "Counters"}, PARAMETERS, active=False)
    assert "<input type='checkbox' name='usedonly' checked>" in page
    assert "<input name='filter' value='&lt;a&gt;&#x27;'>" in page
    assert "<option>All</option><option selected>Counters</option>" in page
    assert "http-equiv" not in page


def test_what_is_counted_is_escaped() -> None:
    page = stats_page("cluster.<script>: 1\n", {}, PARAMETERS, active=True)
    assert "cluster.&lt;script&gt;: 1" in page
    assert "<script" not in page
    assert "http-equiv='refresh'" in page
