"""`pyproxy intercept`: brings a pod's traffic to the proxy with iptables, or takes that back."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from pyproxy.server.flags import UsageError
from pyproxy.server.intercept_rules import MARK, ROUTE_TABLE, Family, Interception, Network, restore_text
from pyproxy.server.words import Words

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
ACTIONS = ("apply", "remove", "print")
_HIGHEST_ID = 2**32 - 2
_LISTS = (
    "--include-inbound-ports",
    "--exclude-inbound-ports",
    "--include-outbound-cidrs",
    "--exclude-outbound-cidrs",
    "--exclude-outbound-ports",
    "--exclude-uids",
)
_VALUED = ("--inbound-port", "--outbound-port", "--proxy-uid", "--proxy-gid", *_LISTS, "--mode", "--netns")

HELP = """\
usage: pyproxy intercept apply|remove|print [flags]

Brings the TCP traffic of a pod to the proxy with iptables, as Istio does. apply replaces our rules, remove takes away
ours only, print shows them and changes nothing. Lists are separated by commas.

  --inbound-port 15006, --outbound-port 15001      where the proxy listens
  --proxy-uid 1337, --proxy-gid 1337               whose traffic is not intercepted: the proxy's own
  --include-inbound-ports '*', --exclude-inbound-ports LIST
  --include-outbound-cidrs '*', --exclude-outbound-cidrs LIST, --exclude-outbound-ports LIST, --exclude-uids LIST
  --mode redirect|tproxy                           inbound: tproxy keeps the client's address
  --ipv6, --no-ipv6                                IPv6 as well (default), or leave it alone
  --netns NAME                                     in this network namespace of `ip netns`

Exit code: 0 done, 1 it could not be done, 2 wrong usage.
Example: pyproxy intercept apply --exclude-inbound-ports 15020,15021,15090
"""


class _Failed(Exception):
    """A command is missing, or refused."""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; `argv` is what follows `intercept`."""
    if any(word in ("-h", "--help") for word in argv):
        sys.stdout.write(HELP)
        return EXIT_OK
    try:
        words = Words.parse(argv, _VALUED, ("--ipv6", "--no-ipv6"))
        action, wanted, netns = _action(words.rest), _interception(words), _netns(words)
        families = (Family.V4,) if "--no-ipv6" in words.switches else (Family.V4, Family.V6)
    except UsageError as error:
        sys.stderr.write(f"pyproxy intercept: {error}\n{HELP.splitlines()[0]}\n")
        return EXIT_USAGE
    if action == "print":
        sys.stdout.write("\n".join(_shown(wanted, family) for family in families))
        return EXIT_OK
    try:
        if os.geteuid() != 0:
            raise _Failed("changing iptables needs root (or CAP_NET_ADMIN as uid 0); `print` does not")
        hosts = [Host(family, netns) for family in families]
        for host in hosts:
            host.change(wanted if action == "apply" else None)
    except _Failed as error:
        sys.stderr.write(f"pyproxy intercept: {error}\n")
        return EXIT_FAILED
    return EXIT_OK


@dataclass(frozen=True, slots=True)
class Host:
    """One address family of a network namespace; "" is our own."""

    family: Family
    netns: str

    def change(self, wanted: Interception | None) -> None:
        if wanted is not None and wanted.tproxy:
            self._route()
        tool = "iptables" if self.family is Family.V4 else "ip6tables"
        text = restore_text(wanted, self.family, self._run(f"{tool}-save"))
        if text:
            self._run(f"{tool}-restore", "--noflush", "--wait", "5", given=text)
        if wanted is None or not wanted.tproxy:
            self._unroute()

    def _route(self) -> None:
        self._ip("route", "replace", *_route_words(self.family))
        if not self._rule_is_there():
            self._ip("rule", "add", *_RULE)

    def _unroute(self) -> None:
        # Without the rule there is nothing of ours: the table may be somebody else's.
        if self._rule_is_there():
            self._ip("rule", "del", *_RULE)
            # The kernel drops the route itself when lo goes down.
            self._ip("route", "del", *_route_words(self.family), unless="No such")

    def _rule_is_there(self) -> bool:
        shown = self._ip("rule", "show")
        return any(f"fwmark {int(MARK):#x} lookup {ROUTE_TABLE}" in line for line in shown.splitlines())

    def _ip(self, *words: str, unless: str = "") -> str:
        return self._run("ip", f"-{self.family.version}", *words, unless=unless)

    def _run(self, *command: str, given: str = "", unless: str = "") -> str:
        """What the command wrote. It may not fail, unless it says `unless`."""
        words = ["ip", "netns", "exec", self.netns, *command] if self.netns else list(command)
        for tool in (words[0], command[0]):
            if shutil.which(tool) is None:
                raise _Failed(f"{tool} is not there: install iptables and iproute2 (--no-ipv6 needs no ip6tables)")
        try:
            done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=15, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise _Failed(f"{' '.join(words)} did not end in 15 s") from None
        if done.returncode and not (unless and unless in done.stderr):
            raise _Failed(f"{' '.join(words)} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
        return done.stdout


_RULE = ("fwmark", MARK, "lookup", ROUTE_TABLE)


def _route_words(family: Family) -> tuple[str, ...]:
    return ("local", "0.0.0.0/0" if family is Family.V4 else "::/0", "dev", "lo", "table", ROUTE_TABLE)


def _shown(wanted: Interception, family: Family) -> str:
    tool = "iptables" if family is Family.V4 else "ip6tables"
    text = f"# {tool}-restore --noflush\n{restore_text(wanted, family)}"
    if wanted.tproxy:
        ip = f"# ip -{family.version}"
        text += f"{ip} rule add {' '.join(_RULE)}\n{ip} route replace {' '.join(_route_words(family))}\n"
    return text


def _action(rest: list[str]) -> str:
    if len(rest) == 1 and rest[0] in ACTIONS:
        return rest[0]
    if not rest:
        raise UsageError("what is to be done? apply, remove or print")
    wrong = rest[0] if rest[0] not in ACTIONS else rest[1]
    near = difflib.get_close_matches(wrong, ACTIONS, 1)
    raise UsageError(f"unknown word {wrong!r}; " + (f"did you mean {near[0]!r}?" if near else "expected one action"))


def _netns(words: Words) -> str:
    name = words.values.get("--netns", "")
    if "--netns" in words.values and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise UsageError(f"--netns {name!r}: expected a name that `ip netns list` shows")
    return name


def _interception(words: Words) -> Interception:
    mode = words.values.get("--mode", "redirect")
    if mode not in ("redirect", "tproxy"):
        raise UsageError(f"--mode {mode!r}: expected redirect or tproxy")
    include_ports, include_cidrs = (words.values.get(name, "*") for name in (_LISTS[0], _LISTS[2]))
    return Interception(
        inbound_port=words.number("--inbound-port", 15006, 1, 65535),
        outbound_port=words.number("--outbound-port", 15001, 1, 65535),
        proxy_uid=words.number("--proxy-uid", 1337, 0, _HIGHEST_ID),
        proxy_gid=words.number("--proxy-gid", 1337, 0, _HIGHEST_ID),
        include_inbound_ports=None if include_ports == "*" else _numbers(words, _LISTS[0], 1, 65535),
        exclude_inbound_ports=_numbers(words, _LISTS[1], 1, 65535),
        include_outbound_cidrs=None if include_cidrs == "*" else _networks(words, _LISTS[2]),
        exclude_outbound_cidrs=_networks(words, _LISTS[3]),
        exclude_outbound_ports=_numbers(words, _LISTS[4], 1, 65535),
        exclude_uids=_numbers(words, _LISTS[5], 0, _HIGHEST_ID),
        tproxy=mode == "tproxy",
    )


def _items(words: Words, name: str) -> list[str]:
    return [item.strip() for item in words.values.get(name, "").split(",") if item.strip()]


def _numbers(words: Words, name: str, low: int, high: int) -> tuple[int, ...]:
    items = _items(words, name)
    return tuple(Words({name: item}).number(name, 0, low, high) for item in items)


def _networks(words: Words, name: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(item) for item in _items(words, name))
    except ValueError as error:
        raise UsageError(f"{name}: {error}; expected CIDRs like 10.0.0.0/8,fd00::/8") from None
