"""Which connections and requests the rules let pass, and by which policy."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pyproxy.filters.common.rbac.compile import compile_rbac
from pyproxy.filters.common.rbac.engine import RbacEngine, denial_details
from pyproxy.filters.common.rbac.facts import NO_ADDRESS, RbacFacts, address_number
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.network.transport_sockets.tls_arrival import TlsFacts
from tests.config.compiling import problems, view
from tests.support.certificates import Authority

METADATA = "{filter: ns, path: [{key: k}, {key: l}], value: %s}"


def engine(text: str) -> RbacEngine:
    seen = view("envoy.config.rbac.v3.RBAC", text)
    made = compile_rbac(seen, of_requests=True).build()
    assert problems(seen) == []
    return made


def policies(**ports: int) -> str:
    """A policy for each name, which wants a destination port."""
    made = (f"{n}: {{permissions: [{{destination_port: {p}}}], principals: [{{any: true}}]}}" for n, p in ports.items())
    return f"policies: {{{', '.join(made)}}}"


class Tls:
    """What the facts of a TLS connection say of the peer."""

    def __init__(self, subject: str = "", presented: bool = True, **sans: list[str]) -> None:
        self.peer_subject = subject
        self.peer_presented = presented
        self._sans = sans

    def peer_sans(self, kind: str) -> list[str]:
        return self._sans.get(kind, [])


class Unreadable(Tls):
    def peer_sans(self, kind: str) -> list[str]:
        raise ValueError(kind)


def connection(**facts: Any) -> ConnectionInfo:
    info = ConnectionInfo()
    info.take_addresses(("10.0.0.1", 80), ("10.0.0.2", 1234))
    for name, value in facts.items():
        setattr(info, name, value)
    return info


def request(path: bytes = b"/a?q", route: Any = None, **facts: Any) -> RbacFacts:
    info = StreamInfo(0.0, 0.0, connection())
    for name, value in facts.items():
        setattr(info, name, value)
    made = Request(b"GET", path, b"h", Headers([(b"x", b"1"), (b"x", b"2")]), info)
    made.route = route
    return RbacFacts(info.connection, made)


CLIENT = Tls("CN=c", URI=["spiffe://u", "spiffe://v"], DNS=["d.example"])
NESTED = {"ns": {"k": {"l": ["a", 2.0]}, "f": False}}


def named(text: str) -> str:
    return f"{{authenticated: {{principal_name: {text}}}}}"


def cidr(kind: str, prefix: str, length: int) -> str:
    return f"{{{kind}: {{address_prefix: '{prefix}', prefix_len: {length}}}}}"


@pytest.mark.parametrize(
    ("rule", "facts", "fits"),
    [
        ("{any: true}", {}, True),
        ("{not_rule: {any: true}}", {}, False),
        ("{and_rules: {rules: [{any: true}, {destination_port: 80}]}}", {}, True),
        ("{and_rules: {rules: [{any: true}, {destination_port: 81}]}}", {}, False),
        ("{or_rules: {rules: [{destination_port: 81}, {destination_port: 80}]}}", {}, True),
        ("{or_rules: {rules: [{destination_port: 81}, {destination_port: 82}]}}", {}, False),
        ("{destination_port_range: {start: 80, end: 81}}", {}, True),
        ("{destination_port_range: {start: 79, end: 80}}", {}, False),
        ("{destination_port: 0}", {"local": ("/run/socket", 0)}, False),
        (cidr("destination_ip", "10.0.0.0", 8), {}, True),
        (cidr("destination_ip", "10.0.0.0", 31), {}, True),
        (cidr("destination_ip", "10.0.0.0", 32), {}, False),
        (cidr("destination_ip", "0.0.0.0", 0), {}, True),
        (cidr("destination_ip", "::", 0), {}, False),
        (cidr("destination_ip", "10.0.0.0", 8), {"local": ("::ffff:10.9.9.9", 80)}, True),
        (cidr("destination_ip", "fe80::", 16), {"local": ("fe80::1%eth0", 80)}, True),
        (cidr("destination_ip", "0.0.0.0", 0), {"local": ("/run/socket", 0)}, False),
        ("{requested_server_name: {exact: ''}}", {}, True),
        ("{requested_server_name: {suffix: .b}}", {"requested_server_name": "a.b"}, True),
        ("{requested_server_name: {suffix: .b}}", {"requested_server_name": "A.B"}, False),
        # A connection has neither a path nor headers, whichever way the rule is meant.
        ("{url_path: {path: {prefix: /}}}", {}, False),
        ("{header: {name: a, present_match: false}}", {}, False),
        ("{header: {name: a, string_match: {exact: b}, invert_match: true}}", {}, False),
    ],
)
def test_what_a_permission_takes(rule: str, facts: dict[str, Any], fits: bool) -> None:
    made = engine(f"policies: {{p: {{permissions: [{rule}], principals: [{{any: true}}]}}}}")
    assert made.decide(RbacFacts(connection(**facts))) == (fits, "p" if fits else None)


@pytest.mark.parametrize(
    ("rule", "facts", "fits"),
    [
        ("{and_ids: {ids: [{any: true}, {not_id: {any: true}}]}}", {}, False),
        ("{or_ids: {ids: [{not_id: {any: true}}, {any: true}]}}", {}, True),
        ("{authenticated: {}}", {}, False),
        ("{authenticated: {}}", {"tls": Tls(presented=False)}, False),
        ("{authenticated: {}}", {"tls": Tls()}, True),
        (named("{exact: ''}"), {}, False),
        (named("{exact: 'spiffe://u'}"), {"tls": CLIENT}, True),
        (named("{exact: 'spiffe://v'}"), {"tls": CLIENT}, True),
        (named("{exact: d.example}"), {"tls": CLIENT}, True),
        (named("{exact: D.example}"), {"tls": CLIENT}, False),
        (named("{exact: D.example, ignore_case: true}"), {"tls": CLIENT}, True),
        (named("{exact: CN=c}"), {"tls": CLIENT}, True),
        (named("{exact: CN=d}"), {"tls": CLIENT}, False),
        (named("{safe_regex: {regex: 'spiffe://.*'}}"), {"tls": Tls("CN=c")}, False),
        # Without a certificate the subject is empty, and that is what Envoy compares.
        (named("{safe_regex: {regex: 'x*'}}"), {"tls": Tls(presented=False)}, True),
        (cidr("source_ip", "10.0.0.2", 32), {"direct_remote": ("9.9.9.9", 1), "remote": ("9.9.9.9", 1)}, True),
        (cidr("source_ip", "10.0.0.2", 32), {"peer": ("9.9.9.9", 1)}, False),
        (cidr("direct_remote_ip", "10.0.0.2", 32), {"peer": ("9.9.9.9", 1), "remote": ("9.9.9.9", 1)}, True),
        (cidr("direct_remote_ip", "10.0.0.2", 32), {"direct_remote": ("9.9.9.9", 1)}, False),
        (cidr("remote_ip", "10.0.0.2", 32), {"peer": ("9.9.9.9", 1), "direct_remote": ("9.9.9.9", 1)}, True),
        (cidr("remote_ip", "10.0.0.2", 32), {"remote": ("9.9.9.9", 1)}, False),
    ],
)
def test_whom_a_principal_takes(rule: str, facts: dict[str, Any], fits: bool) -> None:
    made = engine(f"policies: {{p: {{permissions: [{{any: true}}], principals: [{rule}]}}}}")
    assert made.decide(RbacFacts(connection(**facts))) == (fits, "p" if fits else None)


@pytest.mark.parametrize(
    ("value", "metadata", "fits"),
    [
        ("{present_match: true}", None, False),
        ("{present_match: true}", {"ns": {"k": {}}}, False),
        ("{present_match: true}", {"ns": {"k": "l"}}, False),
        ("{present_match: true}", NESTED, True),
        ("{present_match: true}", {"ns": {"k": {"l": None}}}, True),
        ("{present_match: false}", NESTED, False),
        ("{present_match: false}", None, False),
        ("{null_match: {}}", None, False),
        ("{null_match: {}}", {"ns": {"k": {"l": None}}}, True),
        ("{bool_match: false}", {"ns": {"k": {"l": False}}}, True),
        ("{bool_match: false}", {"ns": {"k": {"l": 0.0}}}, False),
        ("{double_match: {exact: 1}}", {"ns": {"k": {"l": 1.0}}}, True),
        ("{double_match: {exact: 1}}", {"ns": {"k": {"l": True}}}, False),
        ("{double_match: {range: {start: 1, end: 2}}}", {"ns": {"k": {"l": 1}}}, True),
        ("{double_match: {range: {start: 1, end: 2}}}", {"ns": {"k": {"l": 2}}}, False),
        ("{string_match: {prefix: a}}", {"ns": {"k": {"l": "ab"}}}, True),
        ("{string_match: {prefix: a}}", {"ns": {"k": {"l": 1.0}}}, False),
        ("{list_match: {one_of: {double_match: {exact: 2}}}}", NESTED, True),
        ("{list_match: {one_of: {double_match: {exact: 3}}}}", NESTED, False),
        ("{list_match: {one_of: {present_match: true}}}", {"ns": {"k": {"l": "a"}}}, False),
        ("{or_match: {value_matchers: [{null_match: {}}, {string_match: {exact: a}}]}}", NESTED, False),
        ("{or_match: {value_matchers: [{null_match: {}}, {present_match: true}]}}", NESTED, True),
        ("{present_match: true}, invert: true", None, True),
        ("{present_match: true}, invert: true", NESTED, False),
    ],
)
def test_what_metadata_fits(value: str, metadata: dict[str, Any] | None, fits: bool) -> None:
    rule = f"{{metadata: {METADATA % value}}}"
    made = engine(f"policies: {{p: {{permissions: [{rule}], principals: [{{any: true}}]}}}}")
    assert made.decide(RbacFacts(connection(dynamic_metadata=metadata)))[0] is fits
    assert made.decide(request(dynamic_metadata=metadata))[0] is fits


ROUTE = f"{{sourced_metadata: {{metadata_source: ROUTE, metadata_matcher: {METADATA % '{present_match: true}'}}}}}"
NOT_ROUTE = ROUTE.replace("true}}}", "true}, invert: true}}")


@pytest.mark.parametrize(
    ("rule", "facts", "fits"),
    [
        ("{url_path: {path: {exact: /a}}}", request(b"/a"), True),
        ("{url_path: {path: {exact: /a}}}", request(b"/a?b"), True),
        ("{url_path: {path: {exact: /a}}}", request(b"/a#b?c"), True),
        ("{url_path: {path: {exact: /a}}}", request(b"/a/"), False),
        ("{url_path: {path: {exact: ''}}}", request(b""), False),
        ("{header: {name: ':method', string_match: {exact: GET}}}", request(), True),
        ("{header: {name: x, string_match: {exact: '2'}}}", request(), True),
        ("{header: {name: x, string_match: {exact: '1,2'}}}", request(), False),
        ("{header: {name: yy, present_match: false}}", request(), True),
        (ROUTE, request(), False),
        (ROUTE, request(route=object(), route_metadata=NESTED), True),
        (ROUTE, RbacFacts(connection(dynamic_metadata=NESTED)), False),
        (NOT_ROUTE, request(), False),
        (NOT_ROUTE, request(route=object()), True),
        (NOT_ROUTE, RbacFacts(connection()), False),
    ],
)
def test_what_of_a_request_fits(rule: str, facts: RbacFacts, fits: bool) -> None:
    made = engine(f"policies: {{p: {{permissions: [{rule}], principals: [{{any: true}}]}}}}")
    assert made.decide(facts)[0] is fits


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        (f"action: ALLOW\n{policies(a=80)}", (True, "a")),
        (f"action: ALLOW\n{policies(a=81)}", (False, None)),
        (f"action: DENY\n{policies(a=80)}", (False, "a")),
        (f"action: DENY\n{policies(a=81)}", (True, None)),
        (f"action: LOG\n{policies(a=80)}", (True, "a")),
        (f"action: LOG\n{policies(a=81)}", (True, None)),
        ("action: ALLOW", (False, None)),
        ("action: DENY", (True, None)),
        (f"action: DENY\n{policies(c=80, b=80, a=81)}", (False, "b")),
    ],
)
def test_the_first_policy_that_fits_decides(text: str, decision: tuple[bool, str | None]) -> None:
    assert engine(text).decide(RbacFacts(connection())) == decision


def test_a_policy_wants_one_of_its_permissions_and_one_of_its_principals() -> None:
    ids = f"[{cidr('remote_ip', '10.0.0.9', 32)}, {cidr('remote_ip', '10.0.0.2', 32)}]"
    made = engine(
        f"policies: {{p: {{permissions: [{{destination_port: 1}}, {{destination_port: 80}}], principals: {ids}}}}}"
    )
    assert made.decide(RbacFacts(connection()))[0]
    assert not made.decide(RbacFacts(connection(local=("10.0.0.1", 81))))[0]
    assert not made.decide(RbacFacts(connection(remote=("10.0.0.3", 1))))[0]


class Session:
    """What OpenSSL says of a TLS connection."""

    def __init__(self, der: bytes | None) -> None:
        self._der = der

    def cipher(self) -> None:
        return None

    def version(self) -> str:
        return "TLSv1.3"

    def getpeercert(self, _binary: bool) -> bytes | None:
        return self._der


@pytest.mark.parametrize(
    ("name", "fits"),
    [("spiffe://u", True), ("d.example", True), ("CN=client", True), ("client", False), ("10.0.0.1", False)],
)
def test_a_certificate_is_asked_for_its_names(tmp_path: Path, name: str, fits: bool) -> None:
    sans = (
        x509.DNSName("d.example"),
        x509.UniformResourceIdentifier("spiffe://u"),
        x509.IPAddress(ip_address("10.0.0.1")),
    )
    chain, _ = Authority(tmp_path).issue("client", *sans)
    der = ssl.PEM_cert_to_DER_cert(Path(chain).read_text())
    rule = named(f"{{exact: '{name}'}}")
    made = engine(f"policies: {{p: {{permissions: [{{any: true}}], principals: [{rule}]}}}}")
    assert made.decide(RbacFacts(connection(tls=TlsFacts(Session(der)))))[0] is fits
    assert not made.decide(RbacFacts(connection(tls=TlsFacts(Session(b"no certificate")))))[0]
    assert not made.decide(RbacFacts(connection(tls=TlsFacts(Session(None)))))[0]


@pytest.mark.parametrize(("action", "allowed"), [("ALLOW", False), ("DENY", False), ("LOG", True)])
def test_whose_certificate_cannot_be_read_is_denied(action: str, allowed: bool) -> None:
    rule = named("{exact: a}")
    made = engine(f"{{action: {action}, policies: {{p: {{permissions: [{{any: true}}], principals: [{rule}]}}}}}}")
    assert made.decide(RbacFacts(connection(tls=Unreadable()))) == (allowed, None)


@pytest.mark.parametrize(
    ("host", "number"),
    [
        ("0.0.0.1", (4, 1)),
        ("::1", (6, 1)),
        ("::ffff:0.0.0.1", (4, 1)),
        ("fe80::1%eth0", (6, (0xFE80 << 112) + 1)),
        ("", NO_ADDRESS),
        ("/run/a:b", NO_ADDRESS),
        ("@\0a", NO_ADDRESS),
        ("1.2.3", NO_ADDRESS),
    ],
)
def test_an_address_is_a_number(host: str, number: tuple[int, int]) -> None:
    assert address_number(host) == number


@pytest.mark.parametrize(("policy", "inside"), [(None, "none"), ("", "none"), ("a b\t c", "a_b__c")])
def test_details_are_one_word(policy: str | None, inside: str) -> None:
    assert denial_details(policy) == f"rbac_access_denied_matched_policy[{inside}]"
