"""Which copies of a request go elsewhere (Envoy: shadowing)."""

from __future__ import annotations

from random import Random

from pyproxy.config.route import MirrorConfig
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request


class Mirror:
    """One place that gets copies."""

    __slots__ = ("_config", "_random", "_share")

    def __init__(self, config: MirrorConfig, values: RuntimeValues, rng: Random) -> None:
        self._config = config
        self._random = rng.random
        self._share = 1.0 if config.fraction is None else values.share(config.fraction)

    def cluster(self, request: Request) -> str:
        """The cluster for a copy of this request; empty for none."""
        if self._share < 1.0 and self._random() >= self._share:
            return ""
        config = self._config
        return config.cluster or (request.headers.get(config.header) or b"").decode("utf-8", "replace")

    def authority(self, original: bytes) -> bytes:
        """Whom a copy is addressed to: `host-shadow:port`, so that the other side can tell."""
        config = self._config
        if config.host:
            original = config.host.encode()
        if not config.suffix:
            return original
        host, colon, port = original.rpartition(b":")
        if colon and port.isdigit() and not host.endswith(b":"):
            return host + b"-shadow:" + port
        return original + b"-shadow"


def build_mirrors(configs: tuple[MirrorConfig, ...], values: RuntimeValues, rng: Random) -> tuple[Mirror, ...]:
    return tuple(Mirror(config, values, rng) for config in configs)
