"""What must vary between two runs of the same case is replaced by a name; its presence and shape still count."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping

# The 13th digit is kept: Envoy writes its trace decision there (4: none, 9: sampled, a and b: forced).
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
_EPHEMERAL = re.compile(r"(?<=127\.0\.0\.1:)\d{4,5}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_CLOCK = re.compile(r"(?<!\d)\d\d:\d\d:\d\d(\.\d+)?(?!\d)")
_EPOCH = re.compile(r"\b1[7-9]\d{8}(\.\d+)?\b")
_MILLISECONDS = re.compile(r"(?<=\+0000 )\d{3}\b")
# In Envoy's default line the duration and the upstream's part of it follow the two sizes.
_DEFAULT_LINE = re.compile(r'(?<=" )(\d{3} \S+ \d+ \d+) \d+ (\d+|-)(?= ")')
# How a case of its own format marks a duration.
_MARKED = re.compile(r"(?<=\btook=)\d+")
_SERVICE_TIME = re.compile(r"(?im)^(x-envoy-upstream-service-time: )\d+$")
_DATE = re.compile(r"(?im)^(date: )(.*)$")
_NOW = 120.0

SENT_ID = "11111111-2222-4333-8444-555555555555"


class Names:
    """Replaces the ports and paths that belong to one proxy of the pair."""

    def __init__(self, known: Mapping[str, str]) -> None:
        pattern = "|".join(re.escape(text) for text in sorted(known, key=len, reverse=True))
        self._known = dict(known)
        self._ids: dict[str, str] = {}
        self._pattern = re.compile(rf"(?<![0-9])(?:{pattern})(?![0-9])")

    def begin(self) -> None:
        """Forget the ids of the last case: an id is called by the order in which it was seen."""
        self._ids = {SENT_ID: "<the id that was sent>"}

    def text(self, value: str) -> str:
        value = _UUID.sub(self._id, value)  # before ports, whose digits may stand in one
        value = self._pattern.sub(lambda found: self._known[found.group()], value)
        value = _EPHEMERAL.sub("<port>", value)
        value = _TIME.sub("<time>", value)
        value = _CLOCK.sub(lambda found: f"<clock{_digits(found)}>", value)
        value = _EPOCH.sub(lambda found: f"<epoch{_digits(found)}>", value)
        value = _DEFAULT_LINE.sub(lambda found: f"{found[1]} <ms> {'-' if found[2] == '-' else '<ms>'}", value)
        value = _MARKED.sub("<ms>", value)
        return _MILLISECONDS.sub("<fraction>", value)

    def head(self, value: str) -> str:
        return self.text(_DATE.sub(_recent_date, _SERVICE_TIME.sub(r"\1<ms>", value)))

    def log_field(self, key: str, value: object) -> str:
        if key.endswith("duration") and isinstance(value, int):
            return "<ms>"
        if key.endswith("_port") and isinstance(value, int):
            return self.text(f"127.0.0.1:{value}")
        return self.text(json.dumps(value, ensure_ascii=False))

    def _id(self, found: re.Match[str]) -> str:
        return self._ids.setdefault(found.group(), f"<uuid {found.group(1)} number {len(self._ids)}>")


def _digits(found: re.Match[str]) -> str:
    """How many digits the fraction has."""
    return f" .{len(found.group(1)) - 1}" if found.group(1) else ""


def service_time_padding(head: str) -> int:
    """How many digits more than one the service time has: they make byte counters vary."""
    found = re.search(r"(?im)^x-envoy-upstream-service-time: (\d+)$", head)
    return len(found.group(1)) - 1 if found else 0


def _recent_date(found: re.Match[str]) -> str:
    """A date of now is a name; one that an upstream sent is kept."""
    try:
        stamp = email.utils.parsedate_to_datetime(found.group(2)).timestamp()
    except ValueError:
        return found.group()
    recent = abs(stamp - time.time()) < _NOW and found.group(2) == email.utils.formatdate(stamp, usegmt=True)
    return f"{found.group(1)}<now>" if recent else found.group()
