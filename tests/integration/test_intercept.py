"""`pyproxy intercept` against the kernel: a client and a pod, each a network namespace, with a cable between them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pyproxy.server import intercept

CLIENT, POD = f"pyproxy-c{os.getpid()}", f"pyproxy-p{os.getpid()}"
CLIENT_V4, POD_V4, CLIENT_V6, POD_V6 = "10.133.7.1", "10.133.7.2", "fd33:7::1", "fd33:7::2"
NEEDED = ("ip", "iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore")

# Answers with the port that it listens on and the address that the caller meant.
LISTENER = """
import select, socket, struct, sys
transparent, ports = sys.argv[1] == "1", map(int, sys.argv[2:])
sockets = []
for port in ports:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        one = socket.socket(family)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if transparent and port == 15006:
            level, option = (0, 19) if family == socket.AF_INET else (41, 75)
            one.setsockopt(level, option, 1)
        one.bind((address, port))
        one.listen()
        sockets.append(one)
print("ready", flush=True)
while True:
    for one in select.select(sockets, [], [])[0]:
        connection, _ = one.accept()
        host, port = connection.getsockname()[:2]
        try:
            if one.family == socket.AF_INET:
                raw = connection.getsockopt(0, 80, 16)
                host, port = socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack("!H", raw[2:4])[0]
            else:
                raw = connection.getsockopt(41, 80, 28)
                host, port = socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]
        except FileNotFoundError:
            pass  # A namespace without rules tracks no connections: nothing was redirected.
        connection.sendall(f"{one.getsockname()[1]} {host} {port}".encode())
        connection.close()
"""
CALLER = """
import os, socket, sys
uid = int(sys.argv[3])
os.setgid(uid)
os.setuid(uid)
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 3) as connection:
    print(connection.recv(100).decode())
"""


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def call(namespace: str, host: str, port: int, uid: int = 1000) -> str:
    return run("ip", "netns", "exec", namespace, sys.executable, "-I", "-c", CALLER, host, str(port), str(uid)).strip()


def rules() -> str:
    saved = [run("ip", "netns", "exec", POD, f"{tool}-save") for tool in ("iptables", "ip6tables")]
    return "\n".join(line for text in saved for line in text.splitlines() if line.startswith(("-A", ":PY")))


def listen(namespace: str, *ports: int, transparent: bool = False) -> subprocess.Popen[str]:
    words = ["ip", "netns", "exec", namespace, sys.executable, "-I", "-c", LISTENER, str(int(transparent))]
    process = subprocess.Popen([*words, *map(str, ports)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=5)


@pytest.fixture
def pod() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if missing := [tool for tool in NEEDED if shutil.which(tool) is None]:
        pytest.skip(f"not there: {', '.join(missing)}")
    if subprocess.run(["ip", "netns", "add", CLIENT], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make network namespaces")
    try:
        run("ip", "netns", "add", POD)
        run("ip", "link", "add", "eth0", "netns", CLIENT, "type", "veth", "peer", "name", "eth0", "netns", POD)
        for name, v4, v6 in ((CLIENT, CLIENT_V4, CLIENT_V6), (POD, POD_V4, POD_V6)):
            run("ip", "-n", name, "address", "add", f"{v4}/24", "dev", "eth0")
            run("ip", "-n", name, "address", "add", f"{v6}/64", "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        yield
    finally:
        for name in (CLIENT, POD):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def test_redirect(pod: None) -> None:
    words = ["--netns", POD, "--exclude-inbound-ports", "8081", "--exclude-uids", "2000"]
    assert intercept.main(["apply", *words]) == 0
    app, far = listen(POD, 15006, 15001, 8080, 8081), listen(CLIENT, 9090)
    try:
        for client, here in ((CLIENT_V4, POD_V4), (CLIENT_V6, POD_V6)):
            assert call(CLIENT, here, 8080) == f"15006 {here} 8080"
            assert call(CLIENT, here, 8081) == f"8081 {here} 8081"
            assert call(POD, client, 9090) == f"15001 {client} 9090"
            assert call(POD, client, 9090, uid=1337) == f"9090 {client} 9090"
            assert call(POD, client, 9090, uid=2000) == f"9090 {client} 9090"
            # The app to itself, by either address, and the proxy to the app: by the pod's address it is inbound.
            assert call(POD, here, 8080) == f"8080 {here} 8080"
            assert call(POD, here, 8080, uid=1337) == f"15006 {here} 8080"
        assert call(POD, "127.0.0.1", 8080, uid=1337) == "8080 127.0.0.1 8080"
        assert call(POD, "127.0.0.1", 8080) == "8080 127.0.0.1 8080"
        assert call(POD, "::1", 8080, uid=1337) == "8080 ::1 8080"
    finally:
        stop(app)
        stop(far)


def test_tproxy(pod: None) -> None:
    assert intercept.main(["apply", "--netns", POD, "--mode", "tproxy"]) == 0
    app, far = listen(POD, 15006, 15001, 8080, transparent=True), listen(CLIENT, 9090)
    try:
        for client, here in ((CLIENT_V4, POD_V4), (CLIENT_V6, POD_V6)):
            assert call(CLIENT, here, 8080) == f"15006 {here} 8080"
            assert call(POD, client, 9090, uid=1337) == f"9090 {client} 9090"
            assert call(POD, here, 8080) == f"8080 {here} 8080"
    finally:
        stop(app)
        stop(far)


@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_applying_twice_is_applying_once_and_remove_takes_only_ours(pod: None, mode: str) -> None:
    foreign = "-A INPUT -p tcp -m tcp --dport 25 -j DROP"
    run("ip", "netns", "exec", POD, "iptables", *foreign.split())
    words = ["--netns", POD, "--mode", mode]
    assert intercept.main(["apply", *words]) == 0
    once, routes = rules(), run("ip", "-n", POD, "rule")
    assert intercept.main(["apply", *words]) == 0
    assert (rules(), run("ip", "-n", POD, "rule")) == (once, routes)
    assert ("lookup 133" in routes) == (mode == "tproxy")
    for _ in range(2):
        assert intercept.main(["remove", "--netns", POD]) == 0
        assert rules() == foreign
        assert "133" not in run("ip", "-n", POD, "rule") + run("ip", "-n", POD, "-6", "rule")


def test_a_namespace_that_is_not_there(pod: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert intercept.main(["apply", "--netns", "pyproxy-nowhere"]) == 1
    assert "pyproxy-nowhere" in capsys.readouterr().err
