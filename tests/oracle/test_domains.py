"""Which virtual host takes a request."""

from __future__ import annotations

import pytest

from tests.oracle.case import Case, Json, get, in_turn, says
from tests.oracle.conftest import Pair


def vhost(name: str, *domains: str, **fields: object) -> Json:
    return {"name": name, "domains": list(domains), "routes": [says(name, {"prefix": "/"})], **fields}


KINDS = [
    vhost("exact", "a.test"),
    vhost("suffix", "*.a.test"),
    vhost("long-suffix", "*.b.a.test"),
    vhost("dash-suffix", "*-x.test"),
    vhost("prefix", "a.*"),
    vhost("long-prefix", "a.b.*"),
    vhost("port", "p.test:81"),
    vhost("any", "*"),
]


def kinds(id: str, *hosts: str) -> Case:  # noqa: A002
    send = in_turn(*(get("/", host=host) for host in hosts))
    return Case(id=id, vhosts=KINDS, catch_all=False, send=send, status=(200,) * len(hosts))


CASES = [
    kinds("exact", "a.test", "A.TEST", "a.test.", "xa.test"),
    kinds("suffix", "x.a.test", "x.y.a.test", ".a.test", "X.A.Test"),
    kinds("longest-suffix", "x.b.a.test", "b.a.test"),
    kinds("suffix-after-dash", "foo-x.test", "-x.test"),
    kinds("prefix", "a.com", "a.", "a"),
    kinds("longest-prefix", "a.b.c", "a.b."),
    kinds("suffix-before-prefix", "a.b.a.test"),
    kinds("port-counts", "p.test:81", "p.test", "a.test:80", "x.a.test:80"),
    kinds("odd-hosts", "127.0.0.1", "[::1]", "[::1]:80", "ex_ample"),
    Case(
        id="nobody",
        vhosts=[vhost("one", "a.test")],
        catch_all=False,
        send=[get("/", host="b.test")],
        status=404,
        flags="NR",
        details="route_not_found",
    ),
    Case(
        id="port-ignored-in-match",
        vhosts=[vhost("exact", "a.test"), vhost("suffix", "*.a.test"), vhost("port", "p.test:81")],
        table={"ignore_port_in_host_matching": True},
        catch_all=False,
        send=in_turn(get("/", host="a.test:80"), get("/", host="b.a.test:1"), get("/", host="p.test:81")),
        status=(200, 200, 404),
    ),
    Case(
        id="several-domains",
        vhosts=[vhost("first", "a.test", "b.test", "*.c.test"), vhost("second", "c.test", "c.*")],
        catch_all=False,
        send=in_turn(*(get("/", host=h) for h in ("a.test", "b.test", "x.c.test", "c.test", "c.x"))),
        status=(200,) * 5,
    ),
    Case(
        id="host-of-absolute-form",
        vhosts=KINDS,
        catch_all=False,
        send=in_turn(get("http://a.test/", host="x.a.test"), get("HTTP://x.a.test/?q", host="a.test")),
        status=(200, 200),
    ),
    Case(
        id="tls-required",
        vhosts=[vhost("all", "a.test", require_tls="ALL"), vhost("external", "*", require_tls="EXTERNAL_ONLY")],
        catch_all=False,
        send=in_turn(get("/x?y", host="a.test"), get("/x", host="a.test:81"), get("/x", host="b.test")),
        status=(301, 301, 301),
    ),
    Case(
        id="tls-required-of-external-only",
        vhosts=[vhost("external", "*", require_tls="EXTERNAL_ONLY")],
        hcm={
            "use_remote_address": True,
            "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
        },
        catch_all=False,
        send=[get("/x", host="b.test")],
        status=200,
    ),
    Case(
        id="port-stripped-when-it-is-ours",
        hcm={"strip_matching_host_port": True},
        routes=[{"match": {"prefix": "/"}, "route": {"cluster": "up"}}],
        send=in_turn(
            get("/", host="port-stripped-when-it-is-ours.test:1"),
            get("/", host="port-stripped-when-it-is-ours.test:$PORT_LISTENER"),
        ),
        status=(200, 200),
    ),
    Case(
        id="any-port-stripped",
        hcm={"strip_any_host_port": True},
        routes=[{"match": {"prefix": "/"}, "route": {"cluster": "up"}, "name": "mine"}],
        send=in_turn(get("/"), get("/", host="any-port-stripped.test:1")),
        status=(200, 200),
    ),
    Case(
        id="any-port-stripped-of-ipv6",
        hcm={"strip_any_host_port": True},
        host="[::1]",
        routes=[{"match": {"prefix": "/"}, "route": {"cluster": "up"}, "name": "mine"}],
        send=in_turn(get("/", host="[::1]:80"), get("/", host="[::1]")),
        status=(200, 200),
    ),
    Case(
        id="trailing-dot-stripped",
        hcm={"strip_trailing_host_dot": True},
        routes=[{"match": {"prefix": "/"}, "route": {"cluster": "up"}, "name": "mine"}],
        send=in_turn(get("/", host="trailing-dot-stripped.test."), get("/", host="trailing-dot-stripped.test.:80")),
        status=(200, 200),
    ),
    Case(
        id="dot-and-port-stripped",
        hcm={"strip_trailing_host_dot": True, "strip_any_host_port": True},
        routes=[{"match": {"prefix": "/"}, "route": {"cluster": "up"}, "name": "mine"}],
        send=in_turn(get("/", host="dot-and-port-stripped.test.:80"), get("/", host="dot-and-port-stripped.test.")),
        status=(200, 200),
    ),
    Case(
        id="vhost-from-another-header",
        vhosts=KINDS,
        table={"vhost_header": "x-vhost"},
        catch_all=False,
        send=in_turn(get("/", "x-vhost: a.test", host="q.test"), get("/", host="a.test")),
        status=(200, 404),
    ),
]


@pytest.mark.oracle
@pytest.mark.xdist_group("domains")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_as_envoy(case: Case, pair: Pair) -> None:
    pair.check(case)
