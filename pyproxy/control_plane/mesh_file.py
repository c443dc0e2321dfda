"""The file of a mesh -> its values, with every fault, its line and the nearest valid name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from pyproxy.config import yaml_tree
from pyproxy.config.invalid import Fault, InvalidConfig, Path, Place
from pyproxy.config.positions import Positions, Source
from pyproxy.control_plane.mesh import (
    Breakers,
    Gateway,
    GatewayRoute,
    HostPort,
    Instance,
    Mesh,
    Outliers,
    Retries,
    Service,
    Telemetry,
)

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_TIME: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOST: Final = 1_000_000


def read_mesh(text: str, file: str) -> Mesh:
    """Raises InvalidConfig, whose faults have places."""
    root, _ = yaml_tree.compose(text, file)
    if root is None:
        raise InvalidConfig([Fault((), "the file is empty", "services", place=Place(file))])
    plainer = yaml_tree.Plainer(file)
    reader = _Reader(faults=[])
    mesh = reader.mesh(plainer.value(root))
    faults = [*plainer.faults, *reader.faults]
    if faults:
        positions = Positions([Source(file, lambda: root)])
        raise InvalidConfig(
            Fault(one.path, one.reason, one.expected, one.nearest, one.place or positions.of(one.path))
            for one in dict.fromkeys(faults)
        )
    return mesh


class _Reader:
    """Reads plain values; a fault in one part does not hide those of the next."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults

    def mesh(self, value: Any) -> Mesh:
        known = ("services", "gateways", "mtls", "trust_domain", "certificate_days", "telemetry")
        fields = self._fields(value, (), known)
        services = {
            name: self._service(name, one, ("services", name)) for name, one in self._named(fields, "services", ())
        }
        gateways = {
            name: self._gateway(name, one, ("gateways", name)) for name, one in self._named(fields, "gateways", ())
        }
        self._check_names(services, gateways)
        return Mesh(
            services=services,
            gateways=gateways,
            mtls=self._one(fields, "mtls", (), self._bool, False),
            trust_domain=self._one(fields, "trust_domain", (), self._name, "cluster.local"),
            certificate_days=self._one(fields, "certificate_days", (), self._number, 1),
            telemetry=self._one(fields, "telemetry", (), self._telemetry, Telemetry()),
        )

    def _service(self, name: str, value: Any, path: Path) -> Service:
        known = ("instances", "weights", "calls", "allow", "timeout", "retries", "breakers", "outliers")
        fields = self._fields(value, path, known)
        instances = tuple(self._list(fields, "instances", path, self._instance))
        weights = {
            one: self._number(weight, (*path, "weights", one)) for one, weight in self._named(fields, "weights", path)
        }
        versions = {one.version for one in instances}
        for version in weights.keys() - versions:
            self._unknown((*path, "weights", version), "version", version, versions)
        if weights and not sum(weights.values()):
            self._fault((*path, "weights"), "add up to nothing", "at least one above 0")
        return Service(
            name=name,
            instances=instances,
            weights=weights,
            calls=self._calls(fields, path),
            allow=tuple(self._list(fields, "allow", path, self._text)) if "allow" in fields else None,
            timeout=self._one(fields, "timeout", path, self._time, 15.0),
            retries=self._one(fields, "retries", path, self._retries, None),
            breakers=self._one(fields, "breakers", path, self._breakers, None),
            outliers=self._one(fields, "outliers", path, self._outliers, None),
        )

    def _instance(self, value: Any, path: Path) -> Instance:
        if not isinstance(value, dict):
            return Instance("v1", self._host_port(value, path))
        fields = self._fields(value, path, ("version", "app", "proxy", "node", "calls"))
        if "app" not in fields:
            self._fault(path, "has no app", "where it listens, such as app: 127.0.0.1:9000")
        return Instance(
            version=self._one(fields, "version", path, self._name, "v1"),
            app=self._one(fields, "app", path, self._host_port, HostPort("", 0)),
            proxy=self._one(fields, "proxy", path, self._host_port, None),
            node=self._one(fields, "node", path, self._name, ""),
            calls=self._calls(fields, path),
        )

    def _calls(self, fields: Mapping[str, Any], path: Path) -> dict[str, HostPort]:
        return {one: self._host_port(at, (*path, "calls", one)) for one, at in self._named(fields, "calls", path)}

    def _retries(self, value: Any, path: Path) -> Retries:
        fields = self._fields(value, path, ("attempts", "on", "per_try_timeout"))
        default = Retries()
        return Retries(
            self._one(fields, "attempts", path, self._number, default.attempts),
            self._one(fields, "on", path, self._text, default.on),
            self._one(fields, "per_try_timeout", path, self._time, default.per_try_timeout),
        )

    def _breakers(self, value: Any, path: Path) -> Breakers:
        fields = self._fields(value, path, ("connections", "pending", "requests", "retries"))
        return Breakers(**{name: self._number(one, (*path, name)) for name, one in fields.items()})

    def _outliers(self, value: Any, path: Path) -> Outliers:
        fields = self._fields(value, path, ("consecutive_5xx", "ejection_time", "interval"))
        default = Outliers()
        return Outliers(
            self._one(fields, "consecutive_5xx", path, self._number, default.consecutive_5xx),
            self._one(fields, "ejection_time", path, self._time, default.ejection_time),
            self._one(fields, "interval", path, self._time, default.interval),
        )

    def _telemetry(self, value: Any, path: Path) -> Telemetry:
        fields = self._fields(value, path, ("access_log", "traces", "sampling"))
        sampling = self._one(fields, "sampling", path, self._number, 100)
        if sampling > 100:
            self._fault((*path, "sampling"), f"{sampling} is no percentage", "0 to 100")
        return Telemetry(
            self._one(fields, "access_log", path, self._text, ""),
            self._one(fields, "traces", path, self._host_port, None),
            sampling,
        )

    def _gateway(self, name: str, value: Any, path: Path) -> Gateway:
        fields = self._fields(value, path, ("listen", "routes"))
        if "listen" not in fields:
            self._fault(path, "has no listen", "where it listens, such as listen: 0.0.0.0:8080")
        listen = self._one(fields, "listen", path, self._host_port, HostPort("", 0))
        return Gateway(name, listen, tuple(self._list(fields, "routes", path, self._route)))

    def _route(self, value: Any, path: Path) -> GatewayRoute:
        fields = self._fields(value, path, ("service", "host", "prefix"))
        prefix = self._one(fields, "prefix", path, self._text, "/")
        if not prefix.startswith("/"):
            self._fault((*path, "prefix"), f"{prefix!r} is no path", "one that begins with /")
        host = self._one(fields, "host", path, self._text, "*")
        return GatewayRoute(self._one(fields, "service", path, self._text, ""), host, prefix)

    def _check_names(self, services: Mapping[str, Service], gateways: Mapping[str, Gateway]) -> None:
        """Whoever is named has to be there."""
        callers = [*services, *gateways, "*"]
        for service in services.values():
            where: Path = ("services", service.name)
            calls = [(*where, "calls", called) for called in service.calls]
            for at, instance in enumerate(service.instances):
                calls.extend((*where, "instances", at, "calls", called) for called in instance.calls)
            for path in calls:
                if path[-1] not in services:
                    self._unknown(path, "service", str(path[-1]), services)
            for at, caller in enumerate(service.allow or ()):
                if caller not in callers:
                    self._unknown(("services", service.name, "allow", at), "service or gateway", caller, callers)
        for gateway in gateways.values():
            if gateway.name in services:
                self._fault(("gateways", gateway.name), "has the name of a service")
            for at, route in enumerate(gateway.routes):
                if route.service not in services:
                    self._unknown(
                        ("gateways", gateway.name, "routes", at, "service"), "service", route.service, services
                    )

    # Plain values

    def _fields(self, value: Any, path: Path, known: Iterable[str]) -> dict[str, Any]:
        names = tuple(known)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._fault(path, "is no mapping", f"a mapping with {', '.join(names)}")
            return {}
        for name in value:
            if name not in names:
                self._unknown((*path, name), "field", name, names)
        return {name: one for name, one in value.items() if name in names and one is not None}

    def _named(self, fields: Mapping[str, Any], name: str, path: Path) -> Iterable[tuple[str, Any]]:
        value = fields.get(name, {})
        if not isinstance(value, dict):
            self._fault((*path, name), "is no mapping", "names, and what each is")
            return ()
        for one in value:
            self._name(one, (*path, name, one))
        return value.items()

    def _list(self, fields: Mapping[str, Any], name: str, path: Path, read: Callable[[Any, Path], T]) -> Iterable[T]:
        value = fields.get(name, [])
        if not isinstance(value, list):
            self._fault((*path, name), "is no list", "a list")
            return ()
        return [read(one, (*path, name, at)) for at, one in enumerate(value)]

    def _one(self, fields: Mapping[str, Any], name: str, path: Path, read: Callable[[Any, Path], T], default: T) -> T:
        return read(fields[name], (*path, name)) if name in fields else default

    def _text(self, value: Any, path: Path) -> str:
        if not isinstance(value, str):
            self._fault(path, f"{value!r} is no text")
            return ""
        return value

    def _name(self, value: Any, path: Path) -> str:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            self._fault(path, f"{value!r} is no name", "small letters, digits, '.', '_' and '-'")
            return "x"
        return value

    def _bool(self, value: Any, path: Path) -> bool:
        if not isinstance(value, bool):
            self._fault(path, f"{value!r} is neither true nor false", "true or false")
        return value is True

    def _number(self, value: Any, path: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            self._fault(path, f"{value!r} is no whole number from 0 to {_MOST}")
            return 1
        return value

    def _time(self, value: Any, path: Path) -> float:
        match = _TIME.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self._fault(path, f"{value!r} is no time", "such as 250ms, 3s or 1m")
            return 1.0
        return float(match[1]) * _UNITS[match[2]]

    def _host_port(self, value: Any, path: Path) -> HostPort:
        host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
            self._fault(path, f"{value!r} is no address", "HOST:PORT, such as 127.0.0.1:9000")
            return HostPort("127.0.0.1", 1)
        return HostPort(host, int(port))

    def _unknown(self, path: Path, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(str(name), names, 1, 0.5)
        self._fault(path, f"unknown {what} {name!r}", f"one of {', '.join(names)}" if names else "", "".join(near))

    def _fault(self, path: Path, reason: str, expected: str = "", nearest: str = "") -> None:
        self.faults.append(Fault(path, reason, expected, nearest))
