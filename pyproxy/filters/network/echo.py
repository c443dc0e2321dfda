"""echo: gives back what it gets.

The last filter of a chain. Envoy: envoy.filters.network.echo. Security posture: for tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.terminal import SimpleConnection, SimpleTerminal
from pyproxy.runtime import Runtime


@dataclass(frozen=True, slots=True)
class EchoConfig:
    def build(self, runtime: Runtime) -> SimpleTerminal:
        return SimpleTerminal(runtime, lambda owner: EchoConnection(runtime.cork, owner))


def compile(view: View, context: CompileContext) -> EchoConfig:  # noqa: A001 (the name that every filter has)
    """An `Echo`, which has nothing to say."""
    del view, context
    return EchoConfig()


class EchoConnection(SimpleConnection):
    """Reads no more than it can write back."""

    __slots__ = ()

    def on_bytes(self, data: bytes) -> None:
        self.write(data)

    def on_writable(self, writable: bool) -> None:
        if writable:
            self.resume_reading()
        else:
            self.pause_reading()
