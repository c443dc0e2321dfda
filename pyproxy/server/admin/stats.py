"""`/stats`, `/stats/prometheus`."""

from __future__ import annotations

from pyproxy.server.admin.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = ()
