"""The tap filter as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyproxy.config.tap import TapConfig
from pyproxy.filters.http.tap.tap import STATE, Tap
from pyproxy.http.message import Request, Response
from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class TapFilterConfig:
    """`tap` says what is recorded; where it is None, whoever asks at the admin for `config_id` does. `times`,
    `downstream` and `upstream`: when headers came, and the addresses of the connections, are recorded too."""

    tap: TapConfig | None
    config_id: str = ""
    times: bool = False
    downstream: bool = False
    upstream: bool = False

    def build(self, runtime: Runtime) -> Tap:
        return Tap(self, runtime)

    def observe(self, runtime: Runtime) -> Callable[[Request, Response | None], None]:
        """What is called with each request of the chain when it is over."""
        del runtime
        return _finish


def _finish(request: Request, response: Response | None) -> None:
    state = request.info.filter_state
    if state is not None:
        for session in state.pop(STATE, ()):
            session.finish(request, response)
