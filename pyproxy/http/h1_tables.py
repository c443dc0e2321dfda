"""The lines that this process has learnt: shared by all its connections, bounded, of what peers send all the time."""

from __future__ import annotations

from typing import Final

from pyproxy.http import h1_lines
from pyproxy.http.fast import LineTable

FIELDS: Final = LineTable(h1_lines.read_field)
REQUEST_LINES: Final = LineTable(h1_lines.read_request_line)
STATUS_LINES: Final = LineTable(h1_lines.read_status_line)
