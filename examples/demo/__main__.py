"""`make demo`: two versions of a service, pyproxy in front of them, and a live picture of the split.

Everything runs on free ports of 127.0.0.1 and ends with the demo. `--for 10s` ends it by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from examples.demo.load import Load
from examples.demo.services import service

CONFIG = Path(__file__).parent.parent / "canary.yaml"
WAIT_FOR_READY = 15.0


def seconds(text: str) -> float:
    """`10s`, `1m` or a number of seconds."""
    scale = {"s": 1.0, "m": 60.0}.get(text[-1:], 0.0)
    return float(text[:-1]) * scale if scale else float(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def proxy(ports: dict[str, int]) -> AsyncIterator[asyncio.subprocess.Process]:
    """pyproxy with the example's configuration, its ports exchanged for free ones."""
    text = CONFIG.read_text()
    for written, port in ports.items():
        text = text.replace(f"port_value: {written}", f"port_value: {port}")
    with tempfile.TemporaryDirectory(prefix="pyproxy-demo-") as folder:
        config = Path(folder, "canary.yaml")
        config.write_text(text)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pyproxy",
            "-c",
            str(config),
            "--concurrency",
            "1",
            "-l",
            "warning",
            start_new_session=True,
        )
        try:
            await _listening(ports["8080"], process)
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    end = time.monotonic() + WAIT_FOR_READY
    while time.monotonic() < end and process.returncode is None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise SystemExit("pyproxy did not start; its messages are above")


def picture(load: Load, ports: dict[str, int], began: float) -> Table:
    elapsed = max(time.monotonic() - began, 0.001)
    table = Table(
        title=f"pyproxy on http://127.0.0.1:{ports['8080']}   admin http://127.0.0.1:{ports['9901']}",
        caption=f"{load.requests} requests in {elapsed:.0f} s, {load.requests / elapsed:.0f} a second; "
        "wanted: 90 / 10; Ctrl-C ends it",
    )
    for name in ("version", "requests", "share", "", "p50", "p99", "errors"):
        table.add_column(
            name, justify="left" if name in ("version", "") else "right", min_width=14 if not name else None
        )
    for version, seen in sorted(load.by_version.items()):
        share = seen.requests / max(load.requests, 1)
        table.add_row(
            version,
            str(seen.requests),
            f"{share:.1%}",
            "█" * round(share * 14),
            f"{seen.percentile(0.5) * 1000:.1f} ms",
            f"{seen.percentile(0.99) * 1000:.1f} ms",
            str(seen.errors),
        )
    return table


async def demo(duration: float | None) -> int:
    """Gives the exit code: 1 if a request failed."""
    console = Console()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with service("v1") as v1, service("v2", slow=0.004) as v2:
        ports = {"8081": v1, "8082": v2, "8080": free_port(), "9901": free_port()}
        console.print("starting pyproxy and two versions of a service ...")
        async with proxy(ports) as process:
            load, began = Load(ports["8080"]), time.monotonic()
            sending = asyncio.ensure_future(load.run())
            with Live(console=console, auto_refresh=False) as live:
                while not stop.is_set() and process.returncode is None:
                    live.update(picture(load, ports, began), refresh=True)
                    if duration is not None and time.monotonic() - began >= duration:
                        break
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(stop.wait(), 0.25)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    failed = sum(seen.errors for seen in load.by_version.values())
    console.print(f"{load.requests} requests, {failed} failed")
    return 1 if failed or not load.requests else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--for", dest="duration", type=seconds, metavar="10s", help="stop after so long")
    sys.exit(asyncio.run(demo(parser.parse_args().duration)))


if __name__ == "__main__":
    main()
