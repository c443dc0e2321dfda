"""`Interception`: the iptables rules that bring a pod's traffic to the proxy, as Istio's. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

INBOUND, IN_REDIRECT, OUTPUT, REDIRECT = "PYPROXY_INBOUND", "PYPROXY_IN_REDIRECT", "PYPROXY_OUTPUT", "PYPROXY_REDIRECT"
DIVERT, TPROXY = "PYPROXY_DIVERT", "PYPROXY_TPROXY"
CHAINS = (INBOUND, IN_REDIRECT, OUTPUT, REDIRECT, DIVERT, TPROXY)
TABLES = ("nat", "mangle")
MARK, ROUTE_TABLE = "1337", "133"

Network = IPv4Network | IPv6Network


class Family(Enum):
    """The loopback address, and the source that the proxy uses to pass inbound traffic on to the app."""

    V4 = (4, "127.0.0.1/32", "127.0.0.6/32")
    V6 = (6, "::1/128", "::6/128")

    def __init__(self, version: int, loopback: str, passthrough: str) -> None:
        self.version, self.loopback, self.passthrough = version, loopback, passthrough


@dataclass(frozen=True, slots=True, kw_only=True)
class Interception:
    """What is intercepted. None where a list may be '*' means everything."""

    inbound_port: int = 15006
    outbound_port: int = 15001
    proxy_uid: int = 1337
    proxy_gid: int = 1337
    include_inbound_ports: tuple[int, ...] | None = None
    exclude_inbound_ports: tuple[int, ...] = ()
    include_outbound_cidrs: tuple[Network, ...] | None = None
    exclude_outbound_cidrs: tuple[Network, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_uids: tuple[int, ...] = ()
    tproxy: bool = False

    def rules(self, table: str, family: Family) -> list[str]:
        """The rules of one table, those that jump to our chains last."""
        if table == "nat":
            return self._nat(family)
        return self._mangle(family) if self.tproxy else []

    def _nat(self, family: Family) -> list[str]:
        rules = [
            f"-A {REDIRECT} -p tcp -j REDIRECT --to-ports {self.outbound_port}",
            f"-A {IN_REDIRECT} -p tcp -j REDIRECT --to-ports {self.inbound_port}",
            *self._output(family),
            f"-A OUTPUT -p tcp -j {OUTPUT}",
        ]
        if not self.tproxy:
            rules += [*self._inbound(IN_REDIRECT), f"-A PREROUTING -p tcp -j {INBOUND}"]
        return rules

    def _inbound(self, target: str) -> list[str]:
        rules = [f"-A {INBOUND} -p tcp --dport {port} -j RETURN" for port in self.exclude_inbound_ports]
        if self.include_inbound_ports is None:
            return [*rules, f"-A {INBOUND} -p tcp -j {target}"]
        return rules + [f"-A {INBOUND} -p tcp --dport {port} -j {target}" for port in self.include_inbound_ports]

    def _output(self, family: Family) -> list[str]:
        rules = [f"-p tcp --dport {port} -j RETURN" for port in self.exclude_outbound_ports]
        rules += [f"-m owner --uid-owner {uid} -j RETURN" for uid in self.exclude_uids]
        # What the proxy passes on to the app from here must not come back to the proxy.
        rules.append(f"-s {family.passthrough} -o lo -j RETURN")
        for owner in (f"--uid-owner {self.proxy_uid}", f"--gid-owner {self.proxy_gid}"):
            rules += [
                # The app called its own service: the proxy sends it to the pod's own address, so it is inbound again.
                f"! -d {family.loopback} -o lo -p tcp -m owner {owner} -j {IN_REDIRECT}",
                # The app talks to itself.
                f"-o lo -m owner ! {owner} -j RETURN",
                # Everything else of the proxy leaves.
                f"-m owner {owner} -j RETURN",
            ]
        rules.append(f"-d {family.loopback} -j RETURN")
        rules += [f"-d {cidr} -j RETURN" for cidr in _of(family, self.exclude_outbound_cidrs)]
        if self.include_outbound_cidrs is None:
            rules.append(f"-p tcp -j {REDIRECT}")
        else:
            rules += [f"-d {cidr} -p tcp -j {REDIRECT}" for cidr in _of(family, self.include_outbound_cidrs)]
        return [f"-A {OUTPUT} {rule}" for rule in rules]

    def _mangle(self, family: Family) -> list[str]:
        return [
            f"-A {DIVERT} -j MARK --set-mark {MARK}",
            f"-A {DIVERT} -j ACCEPT",
            # Packets of connections that are there already only need the mark, which routes them to this machine.
            f"-A {TPROXY} -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j {DIVERT}",
            f"-A {TPROXY} ! -d {family.loopback} -p tcp -j TPROXY --on-port {self.inbound_port} --tproxy-mark {MARK}",
            # The proxy calls the app with the client's address: answers need the mark too, to come back to the proxy.
            f"-A {INBOUND} -p tcp -m mark --mark {MARK} -j CONNMARK --save-mark",
            f"-A {INBOUND} -p tcp -m mark --mark {MARK} -j RETURN",
            f"-A {INBOUND} -i lo -p tcp -j RETURN",
            *self._inbound(TPROXY),
            f"-A {OUTPUT} -p tcp -m connmark --mark {MARK} -j CONNMARK --restore-mark",
            f"-A PREROUTING -p tcp -j {INBOUND}",
            f"-A OUTPUT -p tcp -j {OUTPUT}",
        ]


def restore_text(wanted: Interception | None, family: Family, saved: str = "") -> str:
    """The input of `iptables-restore --noflush` that leads from `saved`, what iptables-save shows, to what is wanted.

    None wants nothing. Each table changes in one step, and chains and rules that are not ours stay.
    """
    return "".join(_table(table, wanted.rules(table, family) if wanted else [], saved) for table in TABLES)


def _table(table: str, rules: list[str], saved: str) -> str:
    lines = _saved_lines(table, saved)
    there = {line.split()[0][1:] for line in lines if line.startswith(":")}.intersection(CHAINS)
    made = {chain for chain in CHAINS if any(rule.split()[1] == chain for rule in rules)}
    if not rules and not there:
        return ""
    # Naming a chain empties it.
    text = [f"*{table}", *(f":{chain} - [0:0]" for chain in CHAINS if chain in there | made)]
    text += [f"-D{line[2:]}" for line in lines if _is_jump(line)]
    text += rules
    text += [f"-X {chain}" for chain in CHAINS if chain in there - made]
    return "\n".join([*text, "COMMIT", ""])


def _saved_lines(table: str, saved: str) -> list[str]:
    lines, current = [], ""
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        elif current == table:
            lines.append(line)
    return lines


def _is_jump(line: str) -> bool:
    """Is it a rule of a foreign chain that goes to one of ours?"""
    words = line.split()
    return len(words) > 3 and words[0] == "-A" and words[1] not in CHAINS and words[-2] == "-j" and words[-1] in CHAINS


def _of(family: Family, networks: Iterable[Network]) -> list[Network]:
    return [network for network in networks if network.version == family.version]
