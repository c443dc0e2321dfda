"""What pyproxy makes of one message of Envoy's API: whether it is taken, why not, and what of it is not honoured."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from pyproxy.config import pgv, unsupported
from pyproxy.config.bootstrap_compile import cluster_names, compile_bootstrap_view
from pyproxy.config.cluster_compile import compile_cluster
from pyproxy.config.endpoint_compile import compile_assignment
from pyproxy.config.extensions import CompileContext
from pyproxy.config.invalid import Fault, InvalidConfig, Path, Report, Unhonoured
from pyproxy.config.listener_compile import compile_listener
from pyproxy.config.resource_files import BOOTSTRAP, Found, filled
from pyproxy.config.route_compile import compile_route_table
from pyproxy.config.snapshot import beside_faults
from pyproxy.config.tls_compile import check_secret
from pyproxy.config.view import View
from pyproxy.filters.builtin import EXTENSIONS

Compile = Callable[[View, CompileContext], object]


def _secret(view: View, _: CompileContext) -> None:
    view.ignore("name")  # whoever asks for it knows it
    check_secret(view)


def _runtime(view: View, _: CompileContext) -> None:
    view.ignore("name")
    view.struct("layer")


_COMPILERS: Final[Mapping[str, Compile]] = {
    BOOTSTRAP: compile_bootstrap_view,
    "envoy.config.cluster.v3.Cluster": compile_cluster,
    "envoy.config.listener.v3.Listener": compile_listener,
    "envoy.config.endpoint.v3.ClusterLoadAssignment": lambda view, _: compile_assignment(view),
    "envoy.config.route.v3.RouteConfiguration": lambda view, context: compile_route_table(
        view, context, validate=False
    ),
    "envoy.extensions.transport_sockets.tls.v3.Secret": _secret,
    "envoy.service.runtime.v3.Runtime": _runtime,
}
_FILTERS: Final = "envoy.extensions.filters."
_ABSENT: Final = re.compile(
    r"cannot be read: No such file|cannot be opened: there is no directory|^the environment has no variable"
)
_REDACTED: Final = re.compile(r"'[A-Z]+_REDACTED'|\[redacted\]")
"""What stands in the place of addresses and keys in configurations that were made public."""
_OF_LIBRARIES: Final = re.compile(r": (no start line|Unable to load PEM|Empty certificate|\[).*| \(_ssl\.c:\d+\)")
"""What OpenSSL and others add in words of their own, which differ from version to version."""
_NAME: Final = re.compile(r"the ([\w ]+) '[^']*' of type (\S+) is not")
_FOR: Final = re.compile(r" \(filter '[^']*'\)")
_OF_ITS_FIELD: Final = re.compile(r"(is|are|has|says|holds|does|and|add)\b|'")
"""Reasons that go on from the name of the field."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one message. `judged` where it is something that a proxy is configured with by itself."""

    type_name: str
    judged: bool
    reasons: tuple[str, ...] = ()
    unhonoured: tuple[Unhonoured, ...] = ()


def verdict_of(found: Found) -> Verdict:
    """Looks at it as `--mode validate` does: the API's own rules, then ours. What is redacted, and files that are
    not on this machine, count for nothing."""
    try:
        message = filled(found)
    except InvalidConfig as error:
        reasons = _reasons(error.faults)
        return Verdict(found.type_name, bool(reasons), reasons)
    type_name = message.DESCRIPTOR.full_name
    compile_one = _compiler(type_name)
    if compile_one is None and type_name.startswith(_FILTERS):
        return Verdict(type_name, True, (f"the filter {type_name} is not supported",))
    if compile_one is None:
        return Verdict(type_name, False, _reasons(pgv.validate(message)))
    faults, unhonoured = _compiled(message, compile_one)
    return Verdict(type_name, True, _reasons(faults), tuple(unhonoured))


def _compiled(message: Message, compile_one: Compile) -> tuple[list[Fault], list[Unhonoured]]:
    report = Report()
    report.faults.extend(pgv.validate(message))
    clusters = cluster_names(message) if message.DESCRIPTOR.full_name == BOOTSTRAP else None
    view = View(message, (), report)
    with report.isolate():
        compile_one(view, CompileContext(EXTENSIONS, clusters))
    scopes = {_scope(fault.path) for fault in report.faults}
    unhonoured = beside_faults(unsupported.collect(view), report.faults)
    return report.faults, [one for one in unhonoured if not any(one.path[: len(scope)] == scope for scope in scopes)]


def _scope(path: Path) -> Path:
    """What a fault may have kept us from looking at: the extension that it is in, or else a part of the message."""
    last = max((at for at, part in enumerate(path) if part == "typed_config"), default=0)
    return path[: last + 1]


def _compiler(type_name: str) -> Compile | None:
    found = _COMPILERS.get(type_name)
    if found is not None:
        return found
    for one in EXTENSIONS.all:
        if type_name in (one.type_name, one.route_type):
            module: Any = importlib.import_module(one.module)
            compile_one: Compile = module.compile if type_name == one.type_name else module.compile_route
            return compile_one
    return None


def _reasons(faults: Iterable[Fault]) -> tuple[str, ...]:
    """Without places and names, so that they can be counted; each once."""
    told = (one for one in faults if not _ABSENT.search(one.reason) and not _REDACTED.search(one.reason))
    return tuple(dict.fromkeys(map(_reason, told)))


def _reason(fault: Fault) -> str:
    text = _FOR.sub("", _NAME.sub(r"the \1 \2 is not", _OF_LIBRARIES.sub("", fault.reason)))
    field = next((part for part in reversed(fault.path) if isinstance(part, str)), "")
    return f"{field} {text}" if field and _OF_ITS_FIELD.match(text) else text
