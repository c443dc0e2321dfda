"""Cases in which pyproxy is not yet the same as Envoy, and why. They run all the same; one that passes is reported.

This is what falls short, unlike docs/differences.md, which lists what is meant to differ.
"""

from __future__ import annotations

NOT_YET: dict[str, str] = {}
