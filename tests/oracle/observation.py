"""What can be seen of one case from outside, as one flat table of texts, so that two of them compare line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.oracle.normalise import Names, service_time_padding
from tests.support.downstream import Exchange
from tests.support.upstream import Seen
from tests.support.wire import Message

Observation = dict[str, str]

# These counters include the digits of x-envoy-upstream-service-time.
_SIZED_BY_SERVICE_TIME = ("response_headers_bytes", "downstream_header_bytes_sent", "downstream_wire_bytes_sent")
_DULL = (
    "_address",
    "_without_port",
    "_port",
    ".count",
    "hostname",
    "access_log_type",
    ".protocol",
    "_flags_long",
    ".scheme",
)


@dataclass(frozen=True, slots=True)
class Played:
    """The raw material of an observation."""

    exchange: Exchange
    seen: Sequence[tuple[str, Seen]]
    lines: Sequence[Mapping[str, object]]
    files: Mapping[str, str]


def observe(played: Played, names: Names) -> Observation:
    names.begin()
    exchange = played.exchange
    found: Observation = {"end": exchange.end, "timed_out": str(exchange.timed_out)}
    found["interim"] = " ".join(str(one.status) for one in exchange.interims)
    found["rest"] = names.text(exchange.rest.decode("latin-1"))
    found["reply.count"] = str(len(exchange.replies))
    found["upstream.count"] = str(len(played.seen))
    found["log.count"] = str(len(played.lines))
    for number, message in enumerate(exchange.replies):
        found |= _message(f"reply.{number}", message, names)
    for number, (server, seen) in enumerate(played.seen):
        found[f"upstream.{number}.to"] = f"{server} connection {seen.connection}"
        found |= _message(f"upstream.{number}", seen.message, names)
    for number, line in enumerate(played.lines):
        reply = _reply_of(number, len(played.lines), exchange.replies)
        found |= _log_line(f"log.{number}", line, reply, names)
    for name, text in played.files.items():
        found[f"file.{name}"] = names.text(text)
    return found


def differences(envoy: Observation, pyproxy: Observation, ignore: Sequence[str]) -> list[str]:
    """One readable paragraph per key that is not equal."""
    told = []
    for key in dict.fromkeys([*envoy, *pyproxy]):
        left, right = envoy.get(key, "(absent)"), pyproxy.get(key, "(absent)")
        if left != right and not any(fnmatchcase(key, pattern) for pattern in ignore):
            told.append(f"{key}\n    envoy:   {_shown(left)}\n    pyproxy: {_shown(right)}")
    return told


def describe(observation: Observation) -> str:
    return "\n".join(f"  {key}: {_shown(value)}" for key, value in observation.items())


def brief(observation: Observation) -> str:
    """The same without the fields that say nothing."""
    silent = {"", "null", "0", '""', '"-"', "<ms>", '"<time>"', "open", "True", "False", "none"}
    return "\n".join(
        f"  {key}: {_shown(value)}"
        for key, value in observation.items()
        if value not in silent and not key.endswith(_DULL)
    )


def _message(prefix: str, message: Message, names: Names) -> Observation:
    start, _, fields = message.head.decode("latin-1").partition("\r\n")
    return {
        f"{prefix}.start": names.text(start),
        f"{prefix}.headers": names.head(fields.rstrip("\r\n").replace("\r\n", "\n")),
        f"{prefix}.body": names.text(message.body.decode("latin-1")),
        f"{prefix}.framing": message.framing,
        f"{prefix}.trailers": message.trailers.decode("latin-1"),
        f"{prefix}.complete": str(message.complete),
    }


def _reply_of(number: int, lines: int, replies: Sequence[Message]) -> Message | None:
    """What a line is about: each reply has one, or as many as the others (at its start and at its end)."""
    if lines > len(replies) and replies:
        return replies[number * len(replies) // lines]
    return replies[number] if number < len(replies) else None


def _log_line(prefix: str, line: Mapping[str, object], reply: Message | None, names: Names) -> Observation:
    padding = service_time_padding(reply.head.decode("latin-1").replace("\r\n", "\n")) if reply else 0
    found = {}
    for key, value in line.items():
        if key in _SIZED_BY_SERVICE_TIME and isinstance(value, int) and value > 0:
            value -= padding
        found[f"{prefix}.{key}"] = names.log_field(key, value)
    return found


def _shown(value: str) -> str:
    lines = value.split("\n")
    text = lines[0] if len(lines) == 1 else "".join(f"\n        {line}" for line in lines)
    return text if len(text) < 3000 else f"{text[:1500]} ... {len(text)} characters"
