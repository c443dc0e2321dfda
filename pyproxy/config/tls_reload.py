"""Makes the values of a TLS context anew from what its files hold now."""

from __future__ import annotations

from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import InvalidConfig, Report
from pyproxy.config.tls import DownstreamTlsConfig, TlsSource, UpstreamTlsConfig
from pyproxy.config.tls_compile import DOWNSTREAM_TLS, compile_downstream_tls, compile_upstream_tls
from pyproxy.config.view import View


def reload_tls(source: TlsSource) -> DownstreamTlsConfig | UpstreamTlsConfig:
    """Raises InvalidConfig where the files hold nothing that fits together."""
    view = View(message_class(source.type_name).FromString(source.spec), (), Report())
    compile_one = compile_downstream_tls if source.type_name == DOWNSTREAM_TLS else compile_upstream_tls
    made: DownstreamTlsConfig | UpstreamTlsConfig = compile_one(view)
    if view.report.faults:
        raise InvalidConfig(view.report.faults)
    return made
