"""`pyproxy tap`: shows the requests of a running proxy as they end."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pyproxy.server.flags import UsageError
from pyproxy.server.har import har
from pyproxy.server.words import Words
from pyproxy.telemetry.live_tap import TapWish

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
ADMIN_VARIABLE = "PYPROXY_ADMIN"
_DEFAULT_ADMIN = "127.0.0.1:9901"
_MOST = 1_000_000
_CONNECT_SECONDS = 5.0

HELP = """\
usage: pyproxy tap [--admin HOST:PORT|PATH] [--method M] [--path /BEGINNING] [--host H] [--status 404|5xx]
                   [--slower-than MS] [--peer PART-OF-SPIFFE-ID] [--count N] [--headers] [--bodies BYTES] [--json]
                   [--har FILE]

Shows requests of a running proxy as they end, until interrupted or --count of them were seen. --headers shows those of
request and response too, --bodies as much of their bodies where they are text, --json gives one object a line, --har
writes an archive for the network tab of a browser. Values of headers, parameters and fields of bodies whose names speak
of secrets are left out. The admin is at PYPROXY_ADMIN, or 127.0.0.1:9901.

Exit code: 0 done, 1 the proxy cannot be reached, 2 wrong usage.
Example: pyproxy tap --status 5xx --headers
"""
_FILTERS = {
    "--method": "method",
    "--path": "path",
    "--host": "host",
    "--status": "status",
    "--slower-than": "slower_than",
    "--peer": "peer",
    "--bodies": "bodies",
}


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; `argv` is what follows `tap`."""
    if any(word in ("-h", "--help") for word in argv):
        sys.stdout.write(HELP)
        return EXIT_OK
    try:
        words = Words.parse(argv, (*_FILTERS, "--admin", "--count", "--har"), ("--headers", "--json"))
        if words.rest:
            raise UsageError(f"{words.rest[0]!r} is not expected here")
        filters = {name: words.values[flag] for flag, name in _FILTERS.items() if flag in words.values}
        TapWish.parse(filters)
        count = words.number("--count", 0, 0, _MOST)
    except (UsageError, ValueError) as error:
        sys.stderr.write(f"pyproxy tap: {error}\n{HELP.splitlines()[0]}\n")
        return EXIT_USAGE
    admin = words.values.get("--admin") or os.environ.get(ADMIN_VARIABLE) or _DEFAULT_ADMIN
    seen: list[dict[str, Any]] = []
    archive = words.values.get("--har")
    try:
        for entry in _watch(admin, filters):
            _write(entry, words.switches)
            if "dropped" not in entry:
                seen.append(entry) if archive else None
                count -= 1
            if count == 0:
                break
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.stderr.write(f"pyproxy tap: the admin at {admin} cannot be asked: {error}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        pass
    if archive:
        from pyproxy.server.build_info import version_text

        Path(archive).write_text(json.dumps(har(seen, version_text()), indent=1), encoding="utf-8")
    return EXIT_OK


def _watch(admin: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    connection = _connection(admin)
    connection.request("GET", f"/tap?{urlencode({'follow': '', **filters})}")
    response = connection.getresponse()
    if response.status != http.client.OK:
        raise ValueError(response.read().decode("utf-8", "replace").strip())
    assert connection.sock is not None
    connection.sock.settimeout(None)
    while line := response.readline():
        if line.strip():
            yield json.loads(line)


def _connection(admin: str) -> http.client.HTTPConnection:
    if "/" in admin or admin.startswith("@"):
        connection = http.client.HTTPConnection("localhost", timeout=_CONNECT_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect("\0" + admin[1:] if admin.startswith("@") else admin)
        return connection
    host, _, port = admin.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("expected HOST:PORT or the path of a socket")
    return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_CONNECT_SECONDS)


def _write(entry: Mapping[str, Any], switches: set[str]) -> None:
    if "--json" in switches:
        sys.stdout.write(json.dumps(entry, ensure_ascii=False) + "\n")
    elif "dropped" in entry:
        sys.stdout.write(f"... {entry['dropped']} more were left out\n")
    else:
        sys.stdout.write(_line(entry))
        if "--headers" in switches:
            sys.stdout.write("".join(f"    > {name}: {value}\n" for name, value in entry["request_headers"]))
            sys.stdout.write("".join(f"    < {name}: {value}\n" for name, value in entry["response_headers"]))
        for sign, name in ((">", "request_body"), ("<", "response_body")):
            if name in entry:
                sys.stdout.write(_body(sign, entry[name]))
    sys.stdout.flush()


def _body(sign: str, body: Mapping[str, Any]) -> str:
    if "text" not in body:
        return f"    {sign}{sign} {body['size']} bytes that are not text\n"
    more = f" ... of {body['size']} bytes" if body["truncated"] else ""
    lines = f"{body['text']}{more}".splitlines()
    return "".join(f"    {sign}{sign} {line}\n" for line in lines)


def _line(entry: Mapping[str, Any]) -> str:
    moment = datetime.fromtimestamp(entry["time"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    where = f"{entry['cluster']}/{entry['upstream']}" if entry["upstream"] else entry["cluster"] or "-"
    why = f" {entry['flags']} {entry['details']}" if entry["flags"] else ""
    peer = f" from {entry['peer'] or entry['downstream']}"
    return (
        f"{moment} {entry['status'] or '---'} {entry['milliseconds']:>8.1f} ms "
        f"{entry['method']} {entry['host']}{entry['path']} -> {where}{why}{peer}\n"
    )
