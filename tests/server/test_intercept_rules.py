"""The rules of `pyproxy intercept`, as text, and its command line."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pyproxy.server import cli, intercept
from pyproxy.server.intercept_rules import Family, Interception, restore_text

FOREIGN = "*nat\n:PREROUTING ACCEPT [0:0]\n:OTHER - [0:0]\n-A PREROUTING -p tcp -j OTHER\nCOMMIT\n"
OURS = (
    "*nat\n:PREROUTING ACCEPT [0:0]\n:PYPROXY_INBOUND - [0:0]\n:PYPROXY_IN_REDIRECT - [0:0]\n"
    "-A PREROUTING -p tcp -j PYPROXY_INBOUND\n-A PREROUTING -p tcp -j OTHER\n"
    "-A PYPROXY_INBOUND -p tcp -j PYPROXY_IN_REDIRECT\nCOMMIT\n"
)


def output(**of: object) -> list[str]:
    rules = Interception(**of).rules("nat", Family.V4)  # type: ignore[arg-type]
    return [rule.removeprefix("-A PYPROXY_OUTPUT ") for rule in rules if rule.startswith("-A PYPROXY_OUTPUT")]


def test_the_order_of_outbound_rules_is_istios() -> None:
    assert output() == [
        "-s 127.0.0.6/32 -o lo -j RETURN",
        "! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 1337 -j PYPROXY_IN_REDIRECT",
        "-o lo -m owner ! --uid-owner 1337 -j RETURN",
        "-m owner --uid-owner 1337 -j RETURN",
        "! -d 127.0.0.1/32 -o lo -p tcp -m owner --gid-owner 1337 -j PYPROXY_IN_REDIRECT",
        "-o lo -m owner ! --gid-owner 1337 -j RETURN",
        "-m owner --gid-owner 1337 -j RETURN",
        "-d 127.0.0.1/32 -j RETURN",
        "-p tcp -j PYPROXY_REDIRECT",
    ]


def test_exclusions_come_first_and_cidrs_go_to_their_family() -> None:
    cidrs = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    rules = output(exclude_outbound_ports=(25,), exclude_uids=(7,), include_outbound_cidrs=cidrs)
    assert rules[:2] == ["-p tcp --dport 25 -j RETURN", "-m owner --uid-owner 7 -j RETURN"]
    assert rules[-1] == "-d 10.0.0.0/8 -p tcp -j PYPROXY_REDIRECT"
    six = "\n".join(Interception(exclude_outbound_cidrs=cidrs).rules("nat", Family.V6))
    assert "-d fd00::/8 -j RETURN" in six
    assert "10.0.0.0" not in six


def test_inbound_ports() -> None:
    rules = Interception(include_inbound_ports=(80,), exclude_inbound_ports=(22,)).rules("nat", Family.V4)
    assert [rule for rule in rules if rule.startswith("-A PYPROXY_INBOUND")] == [
        "-A PYPROXY_INBOUND -p tcp --dport 22 -j RETURN",
        "-A PYPROXY_INBOUND -p tcp --dport 80 -j PYPROXY_IN_REDIRECT",
    ]


def test_tproxy_takes_inbound_in_mangle_only() -> None:
    wanted = Interception(tproxy=True)
    assert not any("PREROUTING" in rule for rule in wanted.rules("nat", Family.V4))
    assert any("-j TPROXY --on-port 15006 --tproxy-mark 1337" in rule for rule in wanted.rules("mangle", Family.V4))


def test_removing_takes_ours_and_nothing_else() -> None:
    assert restore_text(None, Family.V4) == ""
    assert restore_text(None, Family.V4, FOREIGN) == ""
    assert restore_text(None, Family.V4, OURS).splitlines() == [
        "*nat",
        ":PYPROXY_INBOUND - [0:0]",
        ":PYPROXY_IN_REDIRECT - [0:0]",
        "-D PREROUTING -p tcp -j PYPROXY_INBOUND",
        "-X PYPROXY_INBOUND",
        "-X PYPROXY_IN_REDIRECT",
        "COMMIT",
    ]


def test_applying_again_replaces_the_jump() -> None:
    text = restore_text(Interception(), Family.V4, OURS)
    assert text.count("-D PREROUTING -p tcp -j PYPROXY_INBOUND") == 1
    assert text.count("-A PREROUTING -p tcp -j PYPROXY_INBOUND") == 1
    assert "OTHER" not in text


def test_print_shows_both_families(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["intercept", "print", "--mode", "tproxy"]) == 0
    shown = capsys.readouterr().out
    assert "# iptables-restore" in shown
    assert "# ip -6 rule add fwmark 1337 lookup 133" in shown
    assert intercept.main(["print", "--no-ipv6"]) == 0
    assert "ip6tables" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "apply, remove or print"),
        (["aply"], "did you mean 'apply'?"),
        (["print", "--inbound-prot", "1"], "did you mean '--inbound-port'?"),
        (["print", "--inbound-port", "0"], "from 1 to 65535"),
        (["print", "--exclude-uids", "1,x"], "--exclude-uids 'x'"),
        (["print", "--exclude-outbound-cidrs", "10.0.0.1/8"], "expected CIDRs"),
        (["print", "--mode", "magic"], "expected redirect or tproxy"),
        (["apply", "--netns", "../x"], "`ip netns list`"),
    ],
)
def test_wrong_usage(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert intercept.main(words) == 2
    assert says in capsys.readouterr().err


def test_without_root_or_tools_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert intercept.main(["apply"]) == 1
    assert "needs root" in capsys.readouterr().err
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert intercept.main(["apply"]) == 1
    assert "iptables-save is not there" in capsys.readouterr().err
