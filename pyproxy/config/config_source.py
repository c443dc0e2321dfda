"""Where resources come from, as values. Envoy: envoy.config.core.v3.ConfigSource, ApiConfigSource, GrpcService.

The compile functions are in `config.config_source_compile`; `xds_client` makes sources of them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import Enum

from pyproxy.config.tls import UpstreamTlsConfig

INITIAL_FETCH_TIMEOUT = 15.0
"""Seconds that Envoy waits for the first response where nothing else is said."""


@dataclass(frozen=True, slots=True)
class PathSourceConfig:
    """A file (`path` or `path_config_source`); with `watched_directory` moves within that directory are watched."""

    path: str
    watched_directory: str = ""


@dataclass(frozen=True, slots=True)
class AdsSourceConfig:
    """The one stream of the bootstrap (`ads`)."""


@dataclass(frozen=True, slots=True)
class SelfSourceConfig:
    """The source that the resource itself came from (`self`)."""


class ApiType(Enum):
    """How to speak to a control plane; the value is Envoy's name."""

    REST = "REST"
    GRPC = "GRPC"
    DELTA_GRPC = "DELTA_GRPC"
    AGGREGATED_GRPC = "AGGREGATED_GRPC"
    AGGREGATED_DELTA_GRPC = "AGGREGATED_DELTA_GRPC"

    @property
    def delta(self) -> bool:
        return self in (ApiType.DELTA_GRPC, ApiType.AGGREGATED_DELTA_GRPC)


@dataclass(frozen=True, slots=True)
class BackOffConfig:
    """Seconds between attempts (`BackoffStrategy`): jittered, doubled from `base` to `most`."""

    base: float = 0.5
    most: float = 30.0


@dataclass(frozen=True, slots=True)
class CallCredential:
    """A header that goes with each stream: `prefix` and a token, read from `file` each time if there is one."""

    header: str = "authorization"
    prefix: str = ""
    token: str = field(default="", repr=False)
    file: str = ""


@dataclass(frozen=True, slots=True)
class GoogleGrpcConfig:
    """`google_grpc`: an address of its own (`target_uri`) instead of a cluster. `tls` None means plain text."""

    target_uri: str
    tls: UpstreamTlsConfig | None = None
    credentials: tuple[CallCredential, ...] = ()
    keepalive: tuple[float, float] | None = None
    """Seconds between pings, and for how long an answer may take."""


@dataclass(frozen=True, slots=True)
class GrpcServiceConfig:
    """A gRPC peer (`GrpcService`): a cluster of the bootstrap, or `google`. `metadata` are headers of each stream."""

    cluster: str = ""
    authority: str = ""
    google: GoogleGrpcConfig | None = None
    timeout: float | None = None
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    back_off: BackOffConfig = BackOffConfig()
    max_receive_message_length: int | None = None


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """Of discovery requests (`RateLimitSettings`): a bucket of tokens, and tokens a second."""

    max_tokens: int = 100
    fill_rate: float = 10.0


@dataclass(frozen=True, slots=True)
class ApiSourceConfig:
    """A control plane (`ApiConfigSource`). `clusters`, `refresh_delay` and `request_timeout` (seconds) are for REST."""

    api_type: ApiType
    services: tuple[GrpcServiceConfig, ...] = ()
    clusters: tuple[str, ...] = ()
    refresh_delay: float = 0.0
    request_timeout: float = 1.0
    rate_limit: RateLimitConfig | None = None
    set_node_on_first_message_only: bool = False


SourceConfig = PathSourceConfig | AdsSourceConfig | SelfSourceConfig | ApiSourceConfig


@dataclass(frozen=True, slots=True)
class ConfigSourceConfig:
    """A `ConfigSource`: the kind of `source` says which. `initial_fetch_timeout` is in seconds, 0 waits for ever."""

    source: SourceConfig
    initial_fetch_timeout: float = INITIAL_FETCH_TIMEOUT


@dataclass(frozen=True, slots=True)
class OnDemandClustersConfig:
    """Where clusters come from that nobody knows before a request needs them (`OnDemandCds`).

    `spec` is the `ConfigSource` itself, in base64: what a worker can tell the manager. `timeout` is in seconds.
    """

    spec: str
    timeout: float


@dataclass(frozen=True, slots=True)
class DynamicResourcesConfig:
    """`Bootstrap.dynamic_resources`. A locator is an `xdstp://` collection to ask for instead of everything."""

    lds: ConfigSourceConfig | None = None
    lds_locator: str = ""
    cds: ConfigSourceConfig | None = None
    cds_locator: str = ""
    ads: ApiSourceConfig | None = None


def slot_of(source: ConfigSourceConfig, name: str) -> str:
    """The name of a resource within this process: two sources may each have one of the same name."""
    if isinstance(source.source, AdsSourceConfig | SelfSourceConfig):
        return name
    return f"{name}\0{zlib.crc32(repr(source.source).encode()):08x}"
