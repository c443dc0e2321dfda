"""Where a redirect leads: the `location` of a response, taken apart (RFC 9110 section 10.2.2).

Stricter than browsers: only what is whole and plain is understood, and everything else is passed on as it came.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ABSOLUTE: Final = re.compile(rb"(?i)(https?)://((?:\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?)((?:/[!-~]*)?)")
_MOST: Final = 65535


class Location(NamedTuple):
    """`path` includes the query and no fragment."""

    scheme: bytes
    authority: bytes
    path: bytes


def parse_location(value: bytes) -> Location | None:
    """None for what is no absolute http or https URL."""
    found = _ABSOLUTE.fullmatch(value)
    if found is None or (found[3] and int(found[3]) > _MOST):
        return None
    return Location(found[1].lower(), found[2], found[4].partition(b"#")[0] or b"/")
