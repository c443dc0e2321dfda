"""Tells which patterns Python's backtracking `re` answers in time proportional to the text.

The others could be made to take quadratic or exponential time by whoever chooses the text: 60 KiB of path against
`.*foo.*bar` costs seconds. The answer errs on the safe side.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

from pyproxy.config.regex_syntax import AnyByte, Chars, Choice, Group, Node, Place, Repeat, Sequence, Where

_MOST_FORMS: Final = 64
_MOST_STEPS: Final = 4000
_FEW: Final = 3
"""A repetition with no more freedom than this is written out; one with more counts as a loop."""

_ALL: Final = (1 << 128) - 1
_ALL_BUT_NEWLINE: Final = _ALL ^ (1 << 10)


@dataclass(frozen=True, slots=True)
class _Step:
    """One character out of a set of ASCII characters (a bit mask), or a loop over such a set."""

    mask: int
    loop: bool = False
    greedy: bool = True


_Form = tuple[_Step | Where, ...]


class _TooMany(Exception):
    """The pattern has too many forms, or a loop around more than one character."""


def is_linear(tree: Node, *, search: bool) -> bool:
    """Whether `re` is safe for a match of the whole text or, with `search`, anywhere in it."""
    try:
        forms = _forms(tree)
    except _TooMany:
        return False
    return all(_form_is_linear(form, search=search) for form in forms)


def _form_is_linear(form: _Form, *, search: bool) -> bool:
    """At most one loop may have to give back what it took, and none may follow it.

    A loop never gives back in vain if what follows cannot begin with what it takes, or if nothing that could fail
    follows. A search that may begin anywhere is itself such a loop.
    """
    gives_back = search and not (form and form[0] is Where.TEXT_START)
    for at, step in enumerate(form):
        if not isinstance(step, _Step) or not step.loop:
            continue
        following, open_end = _first(form[at + 1 :])
        if open_end and _never_fails(step, form[at + 1 :], search=search):
            continue
        if gives_back:
            return False
        gives_back = bool(step.mask & following)
    return True


def _first(rest: _Form) -> tuple[int, bool]:
    """What the rest can begin with, and whether it can be empty."""
    mask = 0
    for step in rest:
        if isinstance(step, _Step):
            mask |= step.mask
            if not step.loop:
                return mask, False
    return mask, True


def _never_fails(step: _Step, rest: _Form, *, search: bool) -> bool:
    if any(isinstance(other, _Step) for other in rest) and not step.greedy:
        return False
    takes_all = step.mask & _ALL_BUT_NEWLINE == _ALL_BUT_NEWLINE
    places = [place for place in rest if isinstance(place, Where)]
    if places:
        return takes_all and all(place is Where.TEXT_END for place in places)
    return takes_all or search


def _forms(node: Node) -> list[_Form]:
    """Every way through the pattern, with choices and small repetitions written out."""
    match node:
        case Chars():
            return [(_Step(_mask(node)),)]
        case AnyByte():
            return [(_Step(_ALL),)]
        case Place(where):
            return [(where,)]
        case Group(item):
            return _forms(item)
        case Sequence(items):
            return _product([_forms(item) for item in items])
        case Choice(branches):
            return _bounded([form for branch in branches for form in _forms(branch)])
        case Repeat():
            return _repeated(node)


def _repeated(node: Repeat) -> list[_Form]:
    forms = _forms(node.item)
    single = forms[0][0] if len(forms) == 1 and len(forms[0]) == 1 else None
    free = None if node.most is None else node.most - node.least
    if free is not None and free <= _FEW:
        return _bounded(
            [form for times in range(node.least, node.least + free + 1) for form in _product([forms] * times)]
        )
    if not isinstance(single, _Step) or single.loop:
        raise _TooMany
    return _bounded([(single,) * node.least + (_Step(single.mask, True, node.greedy),)])


def _product(parts: list[list[_Form]]) -> list[_Form]:
    count = 1
    for part in parts:
        count *= len(part)
        if count > _MOST_FORMS:
            raise _TooMany
    return _bounded([tuple(itertools.chain.from_iterable(choice)) for choice in itertools.product(*parts)])


def _bounded(forms: list[_Form]) -> list[_Form]:
    if len(forms) > _MOST_FORMS or sum(map(len, forms)) > _MOST_STEPS:
        raise _TooMany
    return forms


def _mask(node: Chars) -> int:
    mask = 0
    for low, high in node.ranges:
        if low < 128:
            mask |= (1 << (min(high, 127) + 1)) - (1 << low)
    return mask
