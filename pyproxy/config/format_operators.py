"""The operators of format strings: their names, and what each takes between its parentheses and after the colon.

Envoy: "Access log operators"; the table was checked against Envoy 1.40, name by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from pyproxy.config.cel import BadCel, compile_cel


class BadOperator(Exception):
    """An operator that is used wrongly."""

    def __init__(self, reason: str, expected: str = "") -> None:
        super().__init__(reason)
        self.expected = expected


class Argument(Enum):
    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one operator accepts. `check` looks at the argument, which is empty where there is none."""

    argument: Argument = Argument.NONE
    length: bool = False
    check: Callable[[str], None] | None = None


def check_operator(name: str, rule: Rule, argument: str, length: int | None) -> None:
    """Raises BadOperator."""
    if rule.argument is Argument.NONE and (argument or length is not None):
        raise BadOperator(f"%{name}% takes neither an argument nor a length", f"%{name}%")
    if rule.argument is Argument.REQUIRED and not argument:
        raise BadOperator(f"%{name}% needs an argument", f"%{name}(...)%")
    if length is not None and not rule.length:
        raise BadOperator(f"%{name}% takes no length", f"%{name}% without `:{length}`")
    if rule.check is not None:
        rule.check(argument)


# Header names as Envoy takes them in formats: a token (RFC 9110 5.6.2), a pseudo-header, or nothing.
_HEADER_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9A-Za-z]+|")
# strftime's `%n`, in all the ways in which flags, width and modifiers may stand before it.
_NEWLINE = re.compile(r"%[-_0^#]*[1-9]*(E|O)?n")
_METADATA_KINDS: Final = (
    "DYNAMIC",
    "CLUSTER",
    "ROUTE",
    "UPSTREAM_HOST",
    "LISTENER",
    "LISTENER_FILTER_CHAIN",
    "VIRTUAL_HOST",
)


def _headers(argument: str) -> None:
    names = argument.split("?")
    if len(names) > 2:
        raise BadOperator(f"more than one alternative header in {argument!r}", "NAME or NAME?ALTERNATIVE")
    for name in names:
        if _HEADER_NAME.fullmatch(name) is None:
            raise BadOperator(f"{name!r} is not a header name", "a token such as x-request-id, or a pseudo-header")


def _time(argument: str) -> None:
    if _NEWLINE.search(argument):
        raise BadOperator("the time format contains a newline (%n)", "strftime without %n")


def _one_of(*values: str) -> Callable[[str], None]:
    return _options(values)


def _options(*places: tuple[str, ...]) -> Callable[[str], None]:
    """Values separated by colons, each empty or one of those for its place; Envoy looks at no further places."""

    def check(argument: str) -> None:
        for value, allowed in zip(argument.split(":"), places, strict=False):
            if value and value not in allowed:
                raise BadOperator(f"unknown option {value!r}", f"one of {', '.join(allowed)}")

    return check


def _metadata(argument: str) -> None:
    kind = argument.partition(":")[0]
    if kind not in _METADATA_KINDS:
        raise BadOperator(f"{kind!r} is not a kind of metadata", f"one of {', '.join(_METADATA_KINDS)}")


def _filter_state(argument: str) -> None:
    key, serialisation, field = [*argument.split(":"), "", ""][:3]
    if not key:
        raise BadOperator("the key of the filter state is empty", "KEY, KEY:PLAIN, KEY:TYPED or KEY:FIELD:NAME")
    if serialisation not in ("", "PLAIN", "TYPED", "FIELD"):
        raise BadOperator(f"unknown serialisation {serialisation!r}", "PLAIN, TYPED or FIELD")
    if (serialisation == "FIELD") != bool(field):
        raise BadOperator("FIELD, and only FIELD, goes with the name of a field", "KEY:FIELD:NAME")


def _common_duration(argument: str) -> None:
    parts = argument.split(":")
    if len(parts) not in (2, 3):
        raise BadOperator(f"{argument!r} is not a duration", "START:END or START:END:UNIT")
    if len(parts) == 3 and parts[2] not in ("ms", "us", "ns"):
        raise BadOperator(f"unknown unit {parts[2]!r}", "ms, us or ns")


def _cel(expression: str) -> None:
    try:
        compile_cel(expression)
    except BadCel as error:
        raise BadOperator(f"{expression!r} {error}", error.expected) from None


def _coalesce(argument: str) -> None:
    try:
        parsed = json.loads(argument)
    except ValueError as error:
        raise BadOperator(f"COALESCE: its argument is not JSON: {error}", '{"operators": [...]}') from None
    operators = parsed.get("operators") if isinstance(parsed, dict) else None
    if not isinstance(operators, list) or not operators:
        raise BadOperator("COALESCE: a list `operators` with at least one operator is missing", '{"operators": [...]}')
    for operator in operators:
        _coalesced(operator)


def _coalesced(operator: object) -> None:
    entry: Mapping[str, Any] = {"command": operator} if isinstance(operator, str) else {}
    if isinstance(operator, dict):
        entry = operator
    command, argument, length = entry.get("command"), entry.get("param", ""), entry.get("max_length")
    if not isinstance(command, str) or not isinstance(argument, str):
        raise BadOperator(
            f"COALESCE: {operator!r} is not an operator", 'a name, or {"command": NAME, "param": ARGUMENT}'
        )
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length <= 0):
        raise BadOperator(f"COALESCE: max_length is {length!r}", "a whole number above 0")
    rule = OPERATORS.get(command)
    if rule is None:
        raise BadOperator(f"COALESCE: unknown operator {command!r}")
    check_operator(command, rule, argument, length)


_HEADER: Final = Rule(Argument.REQUIRED, True, _headers)
_TIME: Final = Rule(Argument.OPTIONAL, False, _time)
_MASK: Final = Rule(Argument.OPTIONAL)
_STATE: Final = Rule(Argument.OPTIONAL, True, _filter_state)

_PLAIN: Final = """
ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS
DOWNSTREAM_CX_RTT DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID
DOWNSTREAM_DIRECT_LOCAL_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_PORT
DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_LOCAL_ADDRESS
DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_EMAIL_SAN
DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_PORT DOWNSTREAM_LOCAL_SUBJECT
DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1
DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_EMAIL_SAN
DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_ISSUER
DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_OTHERNAME_SAN
DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_PORT
DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION
DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DURATION
FILTER_CHAIN_NAME GRPC_STATUS_NUMBER HOSTNAME LISTENER_NAME LOCAL_REPLY_BODY PACKETS_RETRANSMITTED PROTOCOL
REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE RESPONSE_DURATION RESPONSE_FLAGS
RESPONSE_FLAGS_LONG RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME
ROUTE_RESOLUTION_COUNT ROUTE_RESOLUTION_TIME_US SPAN_ID STREAM_ID TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID
UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_IDS_ATTEMPTED
UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED
UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT UPSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_HEADER_BYTES_RECEIVED
UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOST UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT
UPSTREAM_HOST_NAME UPSTREAM_HOST_NAMES_ATTEMPTED UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT
UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_CLOSE_REASON UPSTREAM_LOCAL_DNS_SAN
UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_PORT UPSTREAM_LOCAL_URI_SAN UPSTREAM_PEER_CERT UPSTREAM_PEER_DNS_SAN
UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_URI_SAN UPSTREAM_PROTOCOL
UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID UPSTREAM_REMOTE_PORT UPSTREAM_REQUEST_ATTEMPT_COUNT
UPSTREAM_SERVER_NAME UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION
UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME
"""

OPERATORS: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_PLAIN.split(), Rule()),
    **dict.fromkeys(("REQ", "RESP", "TRAILER", "REQUEST_HEADER", "RESPONSE_HEADER", "RESPONSE_TRAILER"), _HEADER),
    "STREAM_INFO_REQ": _HEADER,
    **dict.fromkeys(("START_TIME", "START_TIME_LOCAL", "EMIT_TIME", "EMIT_TIME_LOCAL"), _TIME),
    **dict.fromkeys(("DOWNSTREAM_PEER_CERT_V_START", "DOWNSTREAM_PEER_CERT_V_END"), _TIME),
    **dict.fromkeys(("UPSTREAM_PEER_CERT_V_START", "UPSTREAM_PEER_CERT_V_END"), _TIME),
    **dict.fromkeys(("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT"), _MASK),
    **dict.fromkeys(("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"), _MASK),
    **dict.fromkeys(("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"), _MASK),
    **dict.fromkeys(("CEL", "TYPED_CEL"), Rule(Argument.OPTIONAL, True, _cel)),
    **dict.fromkeys(("CLUSTER_METADATA", "UPSTREAM_METADATA"), Rule(Argument.REQUIRED)),
    "COALESCE": Rule(Argument.REQUIRED, True, _coalesce),
    "COMMON_DURATION": Rule(Argument.REQUIRED, False, _common_duration),
    "DYNAMIC_METADATA": Rule(Argument.REQUIRED, True),
    "ENVIRONMENT": Rule(Argument.REQUIRED, True),
    "FILTER_STATE": _STATE,
    "GRPC_STATUS": Rule(Argument.OPTIONAL, False, _one_of("CAMEL_STRING", "SNAKE_STRING", "NUMBER")),
    "METADATA": Rule(Argument.OPTIONAL, True, _metadata),
    "PATH": Rule(Argument.OPTIONAL, True, _options(("WQ", "NQ"), ("ORIG", "PATH", "ORIG_OR_PATH"))),
    "QUERY_PARAM": Rule(Argument.REQUIRED, True),
    "QUERY_PARAMS": Rule(Argument.OPTIONAL, True, _one_of("ORIG", "DECODED")),
    "REQUESTED_SERVER_NAME": Rule(
        Argument.OPTIONAL,
        False,
        _options(("SNI_ONLY", "SNI_FIRST", "HOST_FIRST"), ("ORIG_OR_HOST", "HOST", "ORIG")),
    ),
    "RESPONSE_CODE_DETAILS": Rule(Argument.OPTIONAL),
    "UPSTREAM_FILTER_STATE": _STATE,
}
