"""One request, hop by hop: what access logs, spans, metrics and events say of one trace id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from examples.demo.access_logs import Line
from examples.demo.collector import KeptSpan
from examples.demo.watch import FoundExemplar, Happened


@dataclass(frozen=True, slots=True)
class Followed:
    """Everything that was found of a trace. Lines in the order in which requests began, spans as they are nested."""

    trace: str
    lines: tuple[Line, ...]
    spans: tuple[KeptSpan, ...]
    exemplars: tuple[FoundExemplar, ...]
    events: tuple[Happened, ...]

    @property
    def request_id(self) -> str:
        return str(self.lines[0].fields["request_id"]) if self.lines else ""

    @property
    def complete(self) -> bool:
        """All who wrote a line have sent their spans, no span misses its parent, and metrics and events know of it."""
        known = {span.span for span in self.spans}
        whole = all(span.parent in known for span in self.spans[1:]) and not any(one.parent for one in self.spans[:1])
        all_told = {line.proxy for line in self.lines} == {span.service for span in self.spans}
        return bool(self.lines) and whole and all_told and bool(self.exemplars) and bool(self.events)

    def text(self) -> Iterator[str]:
        yield f"trace {self.trace}, x-request-id {self.request_id}"
        yield "access logs:"
        for line in self.lines:
            yield f"  {_of_line(line)}"
        yield "spans:"
        depths: dict[str, int] = {}
        for span in self.spans:
            depth = depths[span.span] = depths.get(span.parent, -1) + 1
            yield f"  {'  ' * depth}{_of_span(span)}"
        yield "exemplars:"
        for one in self.exemplars:
            yield f"  {one.proxy:13} {one.metric}{{le={one.labels.get('le', '')}}} {one.milliseconds:.1f} ms"
        yield "events:"
        for event in self.events:
            yield f"  {event.proxy:13} {event.kind}: {event.message}"


def followed(
    trace: str,
    lines: Iterable[Line],
    spans: Iterable[KeptSpan],
    exemplars: Iterable[FoundExemplar],
    events: Iterable[Happened],
) -> Followed:
    """Sorted as a reader wants it."""
    return Followed(
        trace,
        tuple(sorted(lines, key=lambda line: str(line.fields["time"]))),
        tuple(_nested(list(spans))),
        tuple(exemplars),
        tuple(event for event in events if event.fields.get("trace_id") == trace),
    )


def _nested(spans: list[KeptSpan]) -> Iterator[KeptSpan]:
    """Each span, then its children; first those whose parent is not there."""
    known = {span.span for span in spans}
    below: dict[str, list[KeptSpan]] = {}
    for span in sorted(spans, key=lambda one: one.start):
        below.setdefault(span.parent if span.parent in known else "", []).append(span)
    waiting = list(reversed(below.get("", [])))
    while waiting:
        span = waiting.pop()
        yield span
        waiting.extend(reversed(below.get(span.span, [])))


def _of_line(line: Line) -> str:
    of = line.fields
    peer = str(of["peer"] or "").rpartition("/")[2] or {"gateway": "you"}.get(line.direction, "its service")
    way = f"from {peer}, to {of['cluster']}"
    tries = f", {of['attempts']} tries" if (of["attempts"] or 0) > 1 else ""
    return f"{line.proxy:13} {line.direction:9} {of['status']} {of['duration_ms']:>3} ms  {way}{tries}"


def _of_span(span: KeptSpan) -> str:
    status = span.tags.get("http.response.status_code", "") or span.tags.get("http.status_code", "")
    happened = f" ({', '.join(span.events)})" if span.events else ""
    return f"{span.service} {span.kind} {span.name} {status} {(span.end - span.start) / 1e6:.1f} ms{happened}"
