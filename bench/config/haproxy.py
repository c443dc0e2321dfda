"""Renders a scenario for HAProxy: as a proxy under test, and as the TCP relay that is the control of every block."""

from pathlib import Path

from bench.config.ports import Ports
from bench.scenarios import Scenario

PROXY = """global
  nbthread 1
  maxconn 8192
{log}defaults
  mode {mode}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend bench
  bind 127.0.0.1:{listen}
{frontend}backend service
{reuse}  server service_v1 127.0.0.1:{upstream}
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
    """HAProxy in HTTP mode; routes are a prefix map, which is how HAProxy is meant to hold many."""
    routes = access_log.with_name("haproxy-routes.map")
    routes.write_text("".join(f"{prefix} service\n" for prefix in scenario.prefixes))
    return PROXY.format(
        mode="http",
        log=LOG if scenario.mesh else "",
        listen=ports.listen,
        upstream=ports.upstream,
        frontend=(MESH if scenario.mesh else "") + f"  use_backend %[path,map_beg({routes})]\n",
        reuse="  http-reuse always\n",
    )


def render_control(ports: Ports) -> str:
    """The same binary without HTTP: bytes in, bytes out. Its cost should never change, so a change is noise."""
    frontend = "  default_backend service\n"
    return PROXY.format(mode="tcp", log="", listen=ports.listen, upstream=ports.upstream, frontend=frontend, reuse="")
