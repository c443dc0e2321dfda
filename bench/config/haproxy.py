"""Renders a scenario for HAProxy: as a proxy under test, and as the TCP relay that is the control of every block."""

from pathlib import Path

from bench.config import nginx
from bench.config.certificates import Certificates
from bench.config.ports import Ports
from bench.scenarios import Scenario, Traffic

PROXY = """global
  nbthread 1
  maxconn 8192
{log}defaults
  mode {mode}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend bench
  bind 127.0.0.1:{listen}{bind}
{frontend}backend service
{reuse}  server service_v1 127.0.0.1:{upstream}{server}
"""

# HAProxy cannot append to a file: a line goes to stdout, which the harness opens as one, with a write each.
LOG = "  log stdout format raw local0\n"

MESH = """  option forwardfor
  unique-id-format %[uuid()]
  unique-id-header x-request-id
  http-request set-header x-forwarded-proto http
  http-request capture req.hdr(host) len 64
  http-request capture req.hdr(user-agent) len 64
  log global
  log-format '{"start_time":"%tr","method":"%HM","path":"%HU","protocol":"%HV","response_code":%ST,\
"response_flags":"%ts","bytes_received":%U,"bytes_sent":%B,"duration":%Ta,"upstream_service_time":%Tr,\
"x_forwarded_for":"%ci","user_agent":"%[capture.req.hdr(1),json(utf8s)]","request_id":"%ID",\
"authority":"%[capture.req.hdr(0),json(utf8s)]","upstream_host":"%si:%sp","upstream_cluster":"%b",\
"downstream_local_address":"%fi:%fp","downstream_remote_address":"%ci:%cp","route_name":"-"}'
"""


def render(scenario: Scenario, ports: Ports, access_log: Path) -> str:
    """HAProxy in HTTP mode, a relay in TCP mode; routes are a prefix map, as HAProxy is meant to hold many."""
    if scenario.is_tcp:
        return render_control(ports)
    certificates = Certificates.at(access_log.parent)
    trusted = f"ca-file {certificates.ca} verify required"
    routes = access_log.with_name("haproxy-routes.map")
    routes.write_text("".join(f"{prefix} service\n" for prefix in scenario.prefixes))
    action = f"  use_backend %[path,map_beg({routes})]\n"
    if scenario.traffic is Traffic.HANDSHAKE:
        action = f'  http-request return status 200 content-type text/plain string "{nginx.body(scenario)}"\n'
    return PROXY.format(
        mode="http",
        bind=f" ssl crt {certificates.server} {trusted}" if scenario.tls_in else "",
        server=_server(scenario, certificates, trusted),
        log=LOG if scenario.mesh else "",
        listen=ports.listen,
        upstream=ports.upstream,
        frontend=(MESH if scenario.mesh else "") + action,
        reuse="  http-reuse always\n",
    )


def _server(scenario: Scenario, certificates: Certificates, trusted: str) -> str:
    tls = f" ssl crt {certificates.client} {trusted} sni str(localhost)" if scenario.tls_out else ""
    return tls + (" proto h2" if scenario.h2_out else "")


def render_control(ports: Ports) -> str:
    """The same binary without HTTP: bytes in, bytes out. Its cost should never change, so a change is noise."""
    frontend = "  default_backend service\n"
    empty = dict.fromkeys(("log", "reuse", "bind", "server"), "")
    return PROXY.format(mode="tcp", listen=ports.listen, upstream=ports.upstream, frontend=frontend, **empty)
