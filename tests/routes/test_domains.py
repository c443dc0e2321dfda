"""From authorities to virtual hosts. Measured with Envoy 1.40."""

from __future__ import annotations

from tests.http.requests import make_request
from tests.routes.live import hosts, name_of


def test_domains() -> None:
    table = hosts(
        ("exact", ["Foo.com", "foo.com:8080"]),
        ("suffix", ["*.foo.com", "*-bar.foo.com"]),
        ("suffix2", ["*.com", "*a.foo.com"]),
        ("prefix", ["foo.*", "foo.b*", "foo.bar.*"]),
        ("prefix2", ["x*", "pp.*"]),
        ("port", ["ported:80", "[::1]", "*.w.com:80"]),
        ("any", ["*"]),
    )
    expected = {
        "exact": "foo.com FOO.com foo.com:8080",
        "suffix": "a.foo.com A.FOO.COM x-bar.foo.com -bar.foo.com",
        "suffix2": ".foo.com z.com za.foo.com a.w.com",
        "prefix": "foo.com:80 foo.x foo.b foo.ba foo.bar.z foo.bar. foo.bar foo.com.",
        "prefix2": "xx pp.x pp.x:80",
        "port": "ported:80 [::1] a.w.com:80",
        "any": "foo. x ported ported:81 [::1]:80 nope a.b.foo.com:1 a,b",
    }
    for _ in range(2):  # also from memory
        for name, authorities in expected.items():
            for authority in authorities.split():
                assert name_of(table, make_request(authority=authority)) == name, authority
