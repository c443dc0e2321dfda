"""`pyproxy control-plane`: a control plane for laptops and tests, from one short file."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pyproxy.config.invalid import InvalidConfig
from pyproxy.control_plane.mesh import HostPort
from pyproxy.control_plane.resources import KeyPair
from pyproxy.control_plane.server import ControlPlaneServer
from pyproxy.control_plane.world import Issue, NotIssued, World
from pyproxy.server.certificates import Identity, Issuer, pem
from pyproxy.server.certs import CannotIssue, open_issuer
from pyproxy.server.flags import UsageError
from pyproxy.server.words import Words

log = logging.getLogger("pyproxy.control_plane")

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

HELP = """\
usage: pyproxy control-plane --config mesh.yaml [--xds 127.0.0.1:18000] [--admin 127.0.0.1:18001] [--certs DIR]
       pyproxy control-plane --config mesh.yaml --check

Serves listeners, routes, clusters, endpoints and secrets over ADS (state of the world and delta) to Envoy and pyproxy
alike, from one short file that is followed as it changes (docs/control-plane.md). Proxies say with
--service-cluster which service or gateway they are. It is for laptops and tests: it asks nobody who they are.

http://ADMIN/snapshot shows every proxy, what it has and what it refused; POST /rotate gives new certificates.

Exit code: 0 stopped, or the file is valid; 1 the file is not valid or a port is taken; 2 wrong usage.
Example: pyproxy control-plane --config mesh.yaml
"""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; `argv` is what follows `control-plane`."""
    if any(word in ("-h", "--help") for word in argv):
        sys.stdout.write(HELP)
        return EXIT_OK
    try:
        words = Words.parse(argv, ("--config", "--xds", "--admin", "--certs"), ("--check",))
        if words.rest or not words.values.get("--config"):
            raise UsageError("--config is needed: which file describes the mesh?")
        config = Path(words.values["--config"]).absolute()
        xds, admin = _address(words, "--xds", 18000), _address(words, "--admin", 18001)
    except UsageError as error:
        sys.stderr.write(f"pyproxy control-plane: {error}\n{HELP.splitlines()[0]}\n")
        return EXIT_USAGE
    certs = Path(words.values.get("--certs", config.parent / "certs"))
    logging.basicConfig(level=logging.INFO, format="[%(asctime)s] [%(levelname)s] %(message)s", stream=sys.stderr)
    try:
        return asyncio.run(_run(config, certs, xds, admin, check="--check" in words.switches))
    except InvalidConfig as error:
        for fault in error.faults:
            sys.stderr.write(f"{fault.place}: {fault}\n")
    except OSError as error:
        sys.stderr.write(f"pyproxy control-plane: {error}\n")
    return EXIT_FAILED


async def _run(config: Path, certs: Path, xds: HostPort, admin: HostPort, *, check: bool) -> int:
    server = ControlPlaneServer(World(_issue_from(certs), time.time), config)
    server.read_file()
    if check:
        sys.stdout.write(f"{config}: OK\n")
        return EXIT_OK
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    xds_port, admin_port = await server.start(xds, admin)
    sys.stdout.write(f"xds {xds.host}:{xds_port}, snapshot http://{admin.host}:{admin_port}/snapshot\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()
    return EXIT_OK


def _issue_from(directory: Path) -> Issue:
    """The CA of `pyproxy certs`, made when it is first needed."""
    made: list[Issuer] = []

    def issue(spiffe_id: str, days: int) -> KeyPair:
        now = datetime.now(UTC)
        try:
            if not made:
                made.append(open_issuer(directory, now, lambda text: log.info(text.rstrip())))
        except (OSError, CannotIssue) as error:
            raise NotIssued(str(error)) from error
        chain, key = made[0].issue(Identity.parse(spiffe_id, ""), now, days)
        return KeyPair(chain, key, pem(made[0].certificate))

    return issue


def _address(words: Words, name: str, port: int) -> HostPort:
    text = words.values.get(name, f"127.0.0.1:{port}")
    host, _, number = text.rpartition(":")
    if not host or not number.isascii() or not number.isdecimal() or int(number) > 65535:
        raise UsageError(f"{name} {text!r}: expected HOST:PORT")
    return HostPort(host.removeprefix("[").removesuffix("]"), int(number))
