"""docs/compatibility.md says what is true now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyproxy.server.compat_table import look_at, page
from tests.support.process import ROOT

CORPORA = Path(os.environ.get("PYPROXY_CORPORA", "")) / "xds"


@pytest.mark.skipif(not CORPORA.is_dir(), reason="PYPROXY_CORPORA does not name a directory with xds/ in it")
def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "compatibility.md").read_text("utf-8").splitlines()
    now = page(look_at(CORPORA)).splitlines()
    changed = sorted({*written} ^ {*now})
    assert not changed, f"{len(changed)} lines differ; `make docs` writes them again:\n" + "\n".join(changed[:20])
    assert written == now
