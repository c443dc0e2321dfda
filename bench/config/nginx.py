"""Renders a scenario for nginx: as the proxy under test, and as the upstream that answers every target."""

from pathlib import Path

from bench.config.certificates import Certificates
from bench.config.ports import Ports
from bench.scenarios import KB, Scenario, Traffic

# A foreground process without a master is one worker whose CPU clock is the whole story.
MAIN = """daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {scratch}/{role}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  server_tokens off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_body_temp_path {scratch}/{role}-body;
  proxy_temp_path {scratch}/{role}-proxy;
  fastcgi_temp_path {scratch}/{role}-fastcgi;
  uwsgi_temp_path {scratch}/{role}-uwsgi;
  scgi_temp_path {scratch}/{role}-scgi;
{http}}}
"""

# Buffered and flushed as Envoy does by default: 64 KB or ten seconds. `off` would win over any log beside it.
SILENT = "  access_log off;\n"
MESH = """  log_format mesh escape=json '{{"start_time":"$time_iso8601","method":"$request_method",'
    '"path":"$request_uri","protocol":"$server_protocol","response_code":"$status",'
    '"bytes_received":"$request_length","bytes_sent":"$body_bytes_sent","duration":"$request_time",'
    '"upstream_service_time":"$upstream_response_time","x_forwarded_for":"$proxy_add_x_forwarded_for",'
    '"user_agent":"$http_user_agent","request_id":"$request_id","authority":"$http_host",'
    '"upstream_host":"$upstream_addr","upstream_cluster":"$proxy_host",'
    '"downstream_local_address":"$server_addr:$server_port",'
    '"downstream_remote_address":"$remote_addr:$remote_port","route_name":"-"}}';
  access_log {access_log} mesh buffer=64k flush=10s;
  proxy_set_header X-Request-Id $request_id;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
"""

PROXY = """  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header Connection "";
  proxy_max_temp_file_size 0;
{mesh}{tls_out}  upstream service {{
    server 127.0.0.1:{upstream};
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{listen} backlog=4096{http2}{tls_in}
{locations}  }}
"""

TLS_IN = """ ssl;
    ssl_certificate {tls.server};
    ssl_certificate_key {tls.server};
    ssl_client_certificate {tls.ca};
    ssl_verify_client on;
    ssl_protocols TLSv1.2 TLSv1.3;"""
TLS_OUT = """  proxy_ssl_certificate {tls.client};
  proxy_ssl_certificate_key {tls.client};
  proxy_ssl_trusted_certificate {tls.ca};
  proxy_ssl_verify on;
  proxy_ssl_name localhost;
  proxy_ssl_server_name on;
  proxy_ssl_protocols TLSv1.2 TLSv1.3;
"""

FROM_MEMORY = '    location / {{ default_type text/plain; return 200 "{body}"; }}\n'
FROM_FILE = """    root {scratch};
    open_file_cache max=16 inactive=1h;
    open_file_cache_valid 1h;
    sendfile on;
    tcp_nopush on;
    location / {{ try_files /body =404; }}
"""


def render(scenario: Scenario, ports: Ports, access_log: Path) -> str:
    """nginx as a reverse proxy with upstream keep-alive; each route is a prefix location."""
    mesh = MESH.format(access_log=access_log) if scenario.mesh else SILENT
    scheme = "https" if scenario.tls_out else "http"
    locations = "".join(f"    location {prefix} {{ proxy_pass {scheme}://service; }}\n" for prefix in scenario.prefixes)
    if scenario.traffic is Traffic.HANDSHAKE:
        locations = FROM_MEMORY.format(body=body(scenario))
    certificates = Certificates.at(access_log.parent)
    http = PROXY.format(
        mesh=mesh,
        upstream=ports.upstream,
        listen=ports.listen,
        http2=" http2" if scenario.h2_in else "",
        locations=locations,
        tls_in=_tls_in(scenario, certificates),
        tls_out=TLS_OUT.format(tls=certificates) if scenario.tls_out else "",
    )
    # Two of them may run at once, so their files carry the port.
    return MAIN.format(scratch=access_log.parent, role=f"nginx-{ports.listen}", http=http)


def _tls_in(scenario: Scenario, certificates: Certificates) -> str:
    return TLS_IN.format(tls=certificates) if scenario.tls_in else ";"


def render_upstream(scenario: Scenario, port: int, scratch: Path) -> str:
    """The origin: small replies come from memory, large ones from a file by sendfile.

    Where handshakes are measured it speaks TLS itself, for the control, which only relays. (Without TLS it speaks
    either HTTP/1 or HTTP/2 on one port.)
    """
    small = scenario.body <= 4 * KB
    answer = FROM_MEMORY.format(body=body(scenario)) if small else FROM_FILE.format(scratch=scratch)
    http2 = " http2" if scenario.h2_out else ""
    listen = f"127.0.0.1:{port} backlog=4096{http2}{_tls_in(scenario, Certificates.at(scratch))}"
    http = f"{SILENT}  server {{\n    listen {listen}\n{answer}  }}\n"
    return MAIN.format(scratch=scratch, role="upstream", http=http)


def body(scenario: Scenario) -> str:
    """The reply's body: its last four bytes mark its end."""
    return "x" * (scenario.body - 4) + ".end"
