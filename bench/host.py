"""What a result depends on besides the code: machine, kernel, interpreter build, versions, commit, stolen time."""

import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.targets import ROOT

ASK_PYTHON = """
import importlib.metadata, importlib.util, json, pathlib, ssl, sys, sysconfig
def version(name):
    try: return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError: return None
config = sysconfig.get_config_var
package = importlib.util.find_spec("pyproxy")
folders = package.submodule_search_locations if package else []
compiled = [path for folder in folders for path in pathlib.Path(folder).rglob("*.so")]
print(json.dumps({
    "version": sys.version.split()[0], "executable": sys.executable, "compiler": config("CC"),
    "shared": bool(config("Py_ENABLE_SHARED")) and "libpython" in open("/proc/self/maps").read(),
    "config_args": config("CONFIG_ARGS"), "compiled_modules": len(compiled), "openssl": ssl.OPENSSL_VERSION,
    **{name: version(name) for name in ("uvloop", "httptools", "h11", "pyproxy-mesh")},
}))
"""


def describe() -> dict[str, Any]:
    """The machine and its kernel."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }


def commit() -> str:
    """The git commit of the tree, with a plus sign if it has changes."""
    head = _first_line(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]) or "none"
    changed = _first_line(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"])
    return head + ("+" if changed else "")


def interpreter(pyproxy: Path) -> dict[str, Any]:
    """The interpreter that runs pyproxy, which is the one beside its command, and the compiled parts it has."""
    python = pyproxy.with_name("python")
    answer = subprocess.run([str(python), "-c", ASK_PYTHON], capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout))


def versions(binaries: dict[str, Path]) -> dict[str, str]:
    """What each binary says that it is."""
    flag = {"haproxy": "-v", "nginx": "-v"}
    return {
        name: _first_line([str(path), flag.get(name, "--version")])
        for name, path in binaries.items()
        if name != "upstream"
    }


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        return str(error)
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")


@dataclass(frozen=True, slots=True)
class Ticks:
    """Scheduler ticks of all CPUs since boot: work, and time that the hypervisor gave to someone else."""

    busy: int
    stolen: int

    @classmethod
    def now(cls) -> "Ticks":
        """Read /proc/stat; stolen time counts as busy, because somebody wanted to run."""
        fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
        return cls(user + nice + system + irq + softirq + steal, steal)

    def steal_percent_since(self, before: "Ticks") -> float:
        """The share of busy time that was stolen since then."""
        return 100 * (self.stolen - before.stolen) / max(1, self.busy - before.busy)
