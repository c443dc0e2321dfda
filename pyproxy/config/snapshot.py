"""From messages to values: the door through which every configuration comes in, static now, and from xDS later.

Compiling is pure. Its verdict is all there is: what comes out of here can be built.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import Message

from pyproxy.config import unsupported
from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.bootstrap_compile import cluster_names, compile_bootstrap_view
from pyproxy.config.extensions import CompileContext, Extensions
from pyproxy.config.invalid import Fault, Report, Unhonoured
from pyproxy.config.view import View


def compile_bootstrap(message: Message, report: Report, extensions: Extensions) -> BootstrapConfig:
    """A `Bootstrap` as values. Raises InvalidConfig with every fault that there is.

    `report` gets the fields that are not honoured, also where there are faults.
    """
    with _without_garbage_collection(), report.isolate():
        view = View(message, (), report)
        config = compile_bootstrap_view(view, CompileContext(extensions, cluster_names(message)))
        report.unhonoured.extend(beside_faults(unsupported.collect(view), report.faults))
    report.raise_if_faulty()
    return config


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Views and values hold no cycles, but the collector would walk them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def beside_faults(unhonoured: list[Unhonoured], faults: list[Fault]) -> list[Unhonoured]:
    """Without those in messages that were left at a fault: what was not looked at is not therefore not honoured."""
    left = {fault.path[:-1] for fault in faults}
    return [one for one in unhonoured if not any(one.path[:size] in left for size in range(len(one.path)))]
