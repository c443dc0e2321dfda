"""Filter state that goes from a connection to those that are made for it (Envoy: envoy.filters.*.set_filter_state)."""

from __future__ import annotations

from typing import NamedTuple


class SharedState(NamedTuple):
    """An object that goes along to internal listeners; `kind` says what it is for (Envoy: factory_key).

    `onward` shares it with the connections after the next one too (Envoy: TRANSITIVE, in place of ONCE).
    """

    key: str
    kind: str
    value: str
    onward: bool = False
