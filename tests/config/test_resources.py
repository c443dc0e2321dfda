from __future__ import annotations

from typing import Any

from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.config.load import load_message
from pyproxy.config.resources import ResourceCompiler
from pyproxy.config.tracing import TracerConfig
from pyproxy.filters.builtin import EXTENSIONS
from tests.config.compiling import as_yaml, listener, manager

LISTENER = "envoy.config.listener.v3.Listener"


def test_listeners_that_come_later_trace_with_the_tracer_of_the_bootstrap() -> None:
    tracer = TracerConfig(ExportTarget(ExportKind.OTLP_GRPC, "collector"))
    loaded = load_message(as_yaml(listener(config=manager(tracing={}))), "test.yaml", LISTENER)
    for known in (tracer, None):
        compiler = ResourceCompiler(EXTENSIONS, tracer=known)
        made: Any = compiler.listener(loaded.message.SerializeToString()).filter_chains[0].filters[-1].config
        assert made.tracing.tracer == known
