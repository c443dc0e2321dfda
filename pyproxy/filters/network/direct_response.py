"""direct_response: says one thing and closes.

The last filter of a chain. Envoy: envoy.filters.network.direct_response. Security posture: reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.data_source import read_data_source
from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.terminal import SimpleConnection, SimpleTerminal
from pyproxy.network.cork import Cork
from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class DirectResponseConfig:
    response: bytes = b""

    def build(self, runtime: Runtime) -> SimpleTerminal:
        return SimpleTerminal(runtime, lambda owner: DirectResponse(runtime.cork, owner, self.response))


def compile(view: View, context: CompileContext) -> DirectResponseConfig:  # noqa: A001 (the name that every filter has)
    """A `Config`."""
    del context
    response = view.child("response")
    return DirectResponseConfig(b"" if response is None else read_data_source(response))


class DirectResponse(SimpleConnection):
    """Closes after what it had to say."""

    __slots__ = ("_response",)

    def __init__(self, cork: Cork, owner: SimpleTerminal, response: bytes) -> None:
        super().__init__(cork, owner)
        self._response = response

    def on_open(self) -> None:
        super().on_open()
        if self._response:
            self.write(self._response)
        self.close()
