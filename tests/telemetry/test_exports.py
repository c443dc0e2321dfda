"""Items on their way from a worker to the manager."""

from __future__ import annotations

from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.server.export_notes import target_as_message, target_of_message
from pyproxy.telemetry.exports import MOST_WAITING, PIECE, Exports

TARGET = ExportTarget(
    ExportKind.OTLP_GRPC, "collector", "host", "/path", 1.5, (("a", "b"),), (("c", "d"),), "log", 0.5, 7
)


def test_equal_targets_share_a_pipe() -> None:
    exports = Exports()
    assert exports.pipe(TARGET) is exports.pipe(target_of_message(target_as_message(TARGET)))
    assert exports.pipe(ExportTarget(ExportKind.ZIPKIN, "collector")) is not exports.pipe(TARGET)


def test_items_are_taken_in_pieces_once() -> None:
    exports = Exports()
    for number in range(PIECE + 1):
        exports.pipe(TARGET).append({"n": number})
    assert [(len(items), dropped) for _, items, dropped in exports.take()] == [(PIECE, 0), (1, 0)]
    assert list(exports.take()) == []


def test_what_is_too_much_is_dropped_and_counted_once() -> None:
    exports = Exports()
    for number in range(MOST_WAITING + 3):
        exports.pipe(TARGET).append({"n": number})
    taken = list(exports.take())
    assert sum(len(items) for _, items, _ in taken) == MOST_WAITING
    assert sum(dropped for _, _, dropped in taken) == 3


def test_what_was_lost_is_told_next_time() -> None:
    exports = Exports()
    exports.lost(TARGET, 5)
    assert list(exports.take()) == [(TARGET, [], 5)]
