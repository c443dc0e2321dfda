"""Values that come by name: compiled for those who watch, once, and not at all for nobody."""

from __future__ import annotations

from pyproxy.config.late import LateValues


class Maker:
    """Counts how often it was compiled."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return self.value


def test_nothing_is_compiled_for_nobody() -> None:
    values = LateValues[str]()
    first = Maker("x")
    values.put("a", first)
    assert first.times == 0
    seen: list[str | None] = []
    also: list[str | None] = []
    values.watch("a", seen.append)
    values.watch("a", also.append)
    assert (seen, also, first.times) == (["x"], ["x"], 1)


def test_who_watches_hears_of_what_is_new() -> None:
    values = LateValues[str]()
    seen: list[str | None] = []
    forget = values.watch("a", seen.append)
    values.put("b", Maker("other"))
    values.put("a", Maker("x"))
    values.put("a", Maker("x"))  # the same
    values.put("a", Maker("y"))
    values.remove("a")
    values.remove("a")
    values.put("a", Maker("z"))
    forget()
    forget()
    values.put("a", Maker("unheard"))
    assert seen == [None, "x", "y", None, "z"]
    assert values.names() == {"a", "b"}


def test_one_may_stop_watching_while_all_are_told() -> None:
    values = LateValues[str]()
    seen: list[str | None] = []
    forgets = []

    def once(value: str | None) -> None:
        seen.append(value)
        if value is not None:
            forgets[0]()

    forgets.append(values.watch("a", once))
    values.put("a", Maker("x"))
    values.put("a", Maker("y"))
    assert seen == [None, "x"]
