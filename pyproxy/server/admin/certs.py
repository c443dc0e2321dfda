"""`/certs`: the certificates that are in use, and how long they are valid. Private keys have no place here.

Those that stand in files are read again for the answer, as the workers read them when they change.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Mapping
from typing import Any

from cryptography import x509

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.resources import ResourceCompiler
from pyproxy.config.tls import DownstreamTlsConfig, UpstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.network.transport_sockets.tls import alternative_names
from pyproxy.server.admin.endpoint import Endpoint, Question, Reply, as_json
from pyproxy.server.proxy import Proxy

_KINDS = {"DNS": "dns", "URI": "uri", "EMAIL": "email", "IP_ADDRESS": "ip_address"}


async def show_certs(question: Question) -> Reply:
    """envoy.admin.v3.Certificates: one entry per TLS context."""
    proxy = question.proxy
    secrets = {} if proxy.discovery is None else proxy.discovery.secret_bodies()
    later = [] if proxy.discovery is None else proxy.discovery.cluster_bodies()
    # In a thread: thousands of clusters take a second, and a probe must not wait for that.
    return await asyncio.to_thread(_show, proxy, later, secrets)


def _show(proxy: Proxy, later: list[bytes], secrets: Mapping[str, bytes]) -> Reply:
    contexts: list[DownstreamTlsConfig | UpstreamTlsConfig] = []
    for listener in proxy.listeners():
        contexts.extend(chain.tls for chain in listener.chains if chain.tls is not None)
    compiler = ResourceCompiler(EXTENSIONS, allow_unknown=True, secrets=proxy.blueprint.bootstrap.secrets)
    for cluster in (*proxy.blueprint.bootstrap.clusters, *(compiler.cluster(body) for body in later)):
        found = (cluster.tls, *(one.tls for one in cluster.tls_matches))
        contexts.extend(tls for tls in found if tls is not None)
    now = datetime.datetime.now(datetime.UTC)
    return as_json({"certificates": [_context(one, now, secrets) for one in contexts]})


def _context(
    config: DownstreamTlsConfig | UpstreamTlsConfig, now: datetime.datetime, secrets: Mapping[str, bytes]
) -> dict[str, Any]:
    if config.source is not None:
        with contextlib.suppress(InvalidConfig):  # the workers go on with the old ones too
            config = reload_tls(config.source, secrets)
    checks = config.common.validation
    return {
        "ca_cert": [_details(checks.trusted_ca.encode(), checks.trusted_ca_path, now)] if checks.trusted_ca else [],
        "cert_chain": [_details(one.chain, one.path, now) for one in config.common.certificates],
    }


def _details(pem: bytes, path: str, now: datetime.datetime) -> dict[str, Any]:
    """envoy.admin.v3.CertificateDetails of the first of some certificates."""
    certificate = x509.load_pem_x509_certificates(pem)[0]
    left = certificate.not_valid_after_utc - now
    return {
        "path": path,
        "serial_number": _serial(certificate.serial_number),
        "subject_alt_names": [{_KINDS[kind]: name} for kind, name in alternative_names(certificate)],
        "days_until_expiration": str(max(0, left.days)),
        "valid_from": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "expiration_time": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


ENDPOINTS = (Endpoint("/certs", "print certs on machine", show_certs),)


def _serial(number: int) -> str:
    """Whole bytes in hexadecimal, with the zero that may stand at the front (Envoy)."""
    text = f"{number:x}"
    return text if len(text) % 2 == 0 else f"0{text}"
