"""Who may do what, as values: what is refused, and where."""

from __future__ import annotations

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.matchers import HeaderMatch, StringKind, StringMatch
from pyproxy.filters.common.rbac.compile import compile_rbac
from pyproxy.filters.common.rbac.config import (
    Action,
    AddressOf,
    AllOf,
    AnyOf,
    Anything,
    Authenticated,
    HasHeader,
    HasMetadata,
    HasPath,
    InNetwork,
    Not,
    Policy,
    RbacConfig,
    Rule,
    ToPort,
    ToServer,
)
from pyproxy.filters.common.rbac.metadata_match import (
    HasElement,
    IsBool,
    IsNull,
    IsNumber,
    IsPresent,
    IsString,
    MetadataMatch,
    OneOf,
    ValueMatch,
)
from tests.config.compiling import problems, unread, view

RBAC = "envoy.config.rbac.v3.RBAC"
A = StringMatch(StringKind.EXACT, "a")
TEN = 10 << 24


def policy(permission: str = "{any: true}", principal: str = "{any: true}", rest: str = "") -> str:
    return f"{{policies: {{p: {{permissions: [{permission}], principals: [{principal}]{rest}}}}}}}"


def metadata(value: ValueMatch, *, invert: bool = False) -> HasMetadata:
    return HasMetadata(MetadataMatch("ns", ("k", "l"), value, invert))


def metadata_text(value: str) -> str:
    return f"{{metadata: {{filter: ns, path: [{{key: k}}, {{key: l}}], value: {value}}}}}"


NULL = "{filter: ns, path: [{key: k}, {key: l}], value: {null_match: {}}}"
PERMISSIONS: list[tuple[str, Rule]] = [
    ("{any: true}", Anything()),
    ("{and_rules: {rules: [{any: true}, {destination_port: 1}]}}", AllOf((Anything(), ToPort(1, 2)))),
    ("{or_rules: {rules: [{any: true}]}}", AnyOf((Anything(),))),
    ("{not_rule: {not_rule: {any: true}}}", Not(Not(Anything()))),
    (
        "{header: {name: X-A, string_match: {exact: a}, invert_match: true}}",
        HasHeader(HeaderMatch(b"x-a", A, invert=True)),
    ),
    ("{url_path: {path: {exact: a}}}", HasPath(A)),
    (
        "{destination_ip: {address_prefix: 10.1.2.3, prefix_len: 8}}",
        InNetwork(AddressOf.DESTINATION, 4, TEN, 8),
    ),
    ("{destination_ip: {address_prefix: 10.0.0.0}}", InNetwork(AddressOf.DESTINATION, 4, 0, 0)),
    (
        "{destination_ip: {address_prefix: 10.0.0.0, prefix_len: 99}}",
        InNetwork(AddressOf.DESTINATION, 4, TEN, 32),
    ),
    ("{destination_ip: {address_prefix: '::1', prefix_len: 128}}", InNetwork(AddressOf.DESTINATION, 6, 1, 128)),
    ("{destination_port: 0}", ToPort(0, 1)),
    ("{destination_port_range: {start: 0, end: 65536}}", ToPort(0, 65536)),
    ("{requested_server_name: {exact: a}}", ToServer(A)),
    (metadata_text("{null_match: {}}"), metadata(IsNull())),
    (metadata_text("{bool_match: false}"), metadata(IsBool(value=False))),
    (metadata_text("{present_match: true}"), metadata(IsPresent(wanted=True))),
    (metadata_text("{double_match: {exact: 2}}"), metadata(IsNumber(2))),
    (metadata_text("{double_match: {range: {start: 1, end: 2}}}"), metadata(IsNumber(1, 2))),
    (metadata_text("{string_match: {exact: a}}"), metadata(IsString(A))),
    (metadata_text("{list_match: {one_of: {string_match: {exact: a}}}}"), metadata(HasElement(IsString(A)))),
    (
        metadata_text("{or_match: {value_matchers: [{null_match: {}}, {bool_match: true}]}}"),
        metadata(OneOf((IsNull(), IsBool(value=True)))),
    ),
    (metadata_text("{null_match: {}}, invert: true"), metadata(IsNull(), invert=True)),
    (
        f"{{sourced_metadata: {{metadata_source: ROUTE, metadata_matcher: {NULL}}}}}",
        HasMetadata(MetadataMatch("ns", ("k", "l"), IsNull()), of_route=True),
    ),
]
PRINCIPALS: list[tuple[str, Rule]] = [
    ("{any: true}", Anything()),
    ("{and_ids: {ids: [{any: true}, {any: true}]}}", AllOf((Anything(), Anything()))),
    ("{or_ids: {ids: [{not_id: {any: true}}]}}", AnyOf((Not(Anything()),))),
    ("{authenticated: {}}", Authenticated()),
    ("{authenticated: {principal_name: {exact: a}}}", Authenticated(A)),
    ("{source_ip: {address_prefix: 10.0.0.0, prefix_len: 8}}", InNetwork(AddressOf.SOURCE, 4, TEN, 8)),
    ("{direct_remote_ip: {address_prefix: 10.0.0.0, prefix_len: 8}}", InNetwork(AddressOf.DIRECT_REMOTE, 4, TEN, 8)),
    ("{remote_ip: {address_prefix: 10.0.0.0, prefix_len: 8}}", InNetwork(AddressOf.REMOTE, 4, TEN, 8)),
    ("{header: {name: a, present_match: true}}", HasHeader(HeaderMatch(b"a", present=True))),
    ("{url_path: {path: {exact: a}}}", HasPath(A)),
    (metadata_text("{null_match: {}}"), metadata(IsNull())),
]


@pytest.mark.parametrize(("text", "rule"), PERMISSIONS)
def test_a_permission_becomes_a_value(text: str, rule: Rule) -> None:
    seen = view(RBAC, policy(permission=text))
    assert compile_rbac(seen, of_requests=True).policies == (Policy("p", (rule,), (Anything(),)),)
    assert problems(seen) == unread(seen) == []


@pytest.mark.parametrize(("text", "rule"), PRINCIPALS)
def test_a_principal_becomes_a_value(text: str, rule: Rule) -> None:
    seen = view(RBAC, policy(principal=text))
    assert compile_rbac(seen, of_requests=True).policies == (Policy("p", (Anything(),), (rule,)),)
    assert problems(seen) == unread(seen) == []


@pytest.mark.parametrize("action", Action)
def test_policies_are_in_the_order_of_their_names(action: Action) -> None:
    one = "{permissions: [{any: true}], principals: [{any: true}]}"
    made = compile_rbac(view(RBAC, f"{{action: {action.name}, policies: {{b: {one}, a: {one}}}}}"), of_requests=False)
    assert made.action is action
    assert [policy.name for policy in made.policies] == ["a", "b"]


def test_nothing_at_all_allows_nobody() -> None:
    assert compile_rbac(view(RBAC, "{}"), of_requests=False) == RbacConfig(Action.ALLOW, ())


EXTENSION = "{name: x, typed_config: {'@type': type.googleapis.com/google.protobuf.Empty}}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (policy(permission=f"{{matcher: {EXTENSION}}}"), "policies.p.permissions[0].matcher: rules of this kind"),
        (policy(permission=f"{{uri_template: {EXTENSION}}}"), "policies.p.permissions[0].uri_template: rules of"),
        (policy(permission="{not_rule: {matcher: {name: x}}}"), "policies.p.permissions[0].not_rule.matcher: rules of"),
        (policy(permission="{header: {name: a}}"), "policies.p.permissions[0].header: a connection has no headers"),
        (
            policy(permission="{not_rule: {and_rules: {rules: [{header: {name: a}}]}}}"),
            "policies.p.permissions[0].not_rule.and_rules.rules[0].header: a connection has no headers",
        ),
        (policy(permission="{}"), "policies.p.permissions[0]: says nothing"),
        (
            policy(permission="{destination_ip: {address_prefix: x, prefix_len: 1}}"),
            "policies.p.permissions[0].destination_ip.address_prefix: 'x' is not an IP address",
        ),
        (
            policy(permission="{destination_port_range: {start: -1, end: 5}}"),
            "policies.p.permissions[0].destination_port_range.start: -1 is out of bounds",
        ),
        (
            policy(permission="{destination_port_range: {start: 1, end: 65537}}"),
            "policies.p.permissions[0].destination_port_range.end: 65537 is out of bounds",
        ),
        (
            policy(permission="{destination_port_range: {start: 5, end: 5}}"),
            "policies.p.permissions[0].destination_port_range.end: 5 is not above",
        ),
        (policy(principal="{header: {name: a}}"), "policies.p.principals[0].header: a connection has no headers"),
        (
            policy(principal="{filter_state: {key: k, string_match: {exact: a}}}"),
            "policies.p.principals[0].filter_state: rules of this kind",
        ),
        (policy(principal=f"{{custom: {EXTENSION}}}"), "policies.p.principals[0].custom: rules of this kind"),
        (
            policy(principal="{or_ids: {ids: [{authenticated: {principal_name: {safe_regex: {regex: '('}}}}]}}"),
            "policies.p.principals[0].or_ids.ids[0].authenticated.principal_name.safe_regex.regex: is not a regular",
        ),
        (policy(rest=", condition: {const_expr: {bool_value: true}}"), "policies.p.condition: conditions in CEL"),
        (policy(rest=", checked_condition: {}"), "policies.p.checked_condition: conditions in CEL"),
    ],
)
def test_a_fault_is_told_by_its_field(text: str, told: str) -> None:
    seen = view(RBAC, text)
    compile_rbac(seen, of_requests=False)
    (found,) = problems(seen)
    assert told in found


def test_one_fault_does_not_hide_another() -> None:
    bad = "{permissions: [{}], principals: [{}]}"
    seen = view(RBAC, f"{{policies: {{a: {bad}, b: {bad}}}}}")
    compile_rbac(seen, of_requests=False)
    assert len(problems(seen)) == 4


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="action: unknown value 7"):
        compile_rbac(view(RBAC, "{action: 7}"), of_requests=False)
