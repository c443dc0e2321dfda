"""Makes the values of a TLS context anew from what its files hold now."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import InvalidConfig, Report
from pyproxy.config.tls import DownstreamTlsConfig, TlsSource, UpstreamTlsConfig
from pyproxy.config.tls_compile import DOWNSTREAM_TLS, compile_downstream_tls, compile_upstream_tls
from pyproxy.config.view import View

NO_SECRETS: Final[Mapping[str, bytes]] = MappingProxyType({})


def reload_tls(source: TlsSource, secrets: Mapping[str, bytes] = NO_SECRETS) -> DownstreamTlsConfig | UpstreamTlsConfig:
    """`secrets` are those that came from elsewhere, by their slots. Raises InvalidConfig where files and secrets do
    not fit together."""
    report = Report(secrets=secrets, static_secrets=dict(source.static_secrets))
    view = View(message_class(source.type_name).FromString(source.spec), (), report)
    compile_one = compile_downstream_tls if source.type_name == DOWNSTREAM_TLS else compile_upstream_tls
    made: DownstreamTlsConfig | UpstreamTlsConfig = compile_one(view)
    if view.report.faults:
        raise InvalidConfig(view.report.faults)
    return made
