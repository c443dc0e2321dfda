"""`pyproxy certs`: a local CA and leaf certificates, for development."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pyproxy.server.certificates import Identity, Issuer, key_pem, pem
from pyproxy.server.flags import UsageError
from pyproxy.server.words import Words

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

HELP = """\
usage: pyproxy certs --dir DIR [--trust-domain cluster.local] [--days 30] [--renew] ID...

Makes a local CA (once) and a certificate for each ID, for development. An ID is a SPIFFE ID
(spiffe://cluster.local/ns/default/sa/web), a short name (web: spiffe://TRUST-DOMAIN/web and the DNS name web) or a
DNS name (web.example.com). Nothing is overwritten; --renew puts a new certificate and key in the place of the old.

Exit code: 0 done, 1 a file is in the way or cannot be written, 2 wrong usage.
Example: pyproxy certs --dir certs web spiffe://cluster.local/ns/default/sa/api
"""
_SNIPPET = """
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    require_client_certificate: true
    common_tls_context:
      tls_certificates:
      - certificate_chain: {{filename: {certificate}}}
        private_key: {{filename: {key}}}
      validation_context: {{trusted_ca: {{filename: {ca}}}}}
"""


class CannotIssue(Exception):
    """The state of the directory does not allow it."""


def main(argv: Sequence[str]) -> int:
    """Run the subcommand; `argv` is what follows `certs`."""
    if any(word in ("-h", "--help") for word in argv):
        sys.stdout.write(HELP)
        return EXIT_OK
    try:
        words = Words.parse(argv, ("--dir", "--trust-domain", "--days"), ("--renew",))
        directory, days = words.values.get("--dir", ""), words.number("--days", 30, 1, 365)
        if not directory:
            raise UsageError("--dir is needed: where do the files go?")
        identities = _identities(words)
    except UsageError as error:
        sys.stderr.write(f"pyproxy certs: {error}\n{HELP.splitlines()[0]}\n")
        return EXIT_USAGE
    try:
        _make(Path(directory).absolute(), identities, days, renew="--renew" in words.switches)
    except (CannotIssue, OSError) as error:
        sys.stderr.write(f"pyproxy certs: {error}\n")
        return EXIT_FAILED
    return EXIT_OK


def _identities(words: Words) -> list[Identity]:
    domain = words.values.get("--trust-domain", "cluster.local")
    if not re.fullmatch(r"[a-z0-9._-]{1,255}", domain):
        raise UsageError(f"--trust-domain {domain!r}: expected small letters, digits, '.', '-' and '_'")
    try:
        found = [Identity.parse(word, domain) for word in words.rest]
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not found:
        raise UsageError("which ID? Like web, web.example.com or spiffe://cluster.local/ns/default/sa/web")
    taken = {"ca", "ca-key"}
    for identity in found:
        if {identity.name, f"{identity.name}-key"} & taken:
            raise UsageError(f"{identity.name}.pem or {identity.name}-key.pem would be made twice: give other IDs")
        taken |= {identity.name, f"{identity.name}-key"}
    return found


def _make(directory: Path, identities: list[Identity], days: int, *, renew: bool) -> None:
    # A directory that was there keeps its mode: it may be somebody's home or /tmp. The keys are 0600 in any case.
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True)
    targets = [(directory / f"{one.name}.pem", directory / f"{one.name}-key.pem", one) for one in identities]
    # All are looked at before the first is written: half of a set helps nobody.
    for path in (path for certificate, key, _ in targets for path in (certificate, key)):
        if not renew and os.path.lexists(path):
            raise CannotIssue(f"{path} is there and is not overwritten; --renew makes a new one in its place")
    now = datetime.now(UTC)
    issuer = open_issuer(directory, now)
    for certificate, key, identity in targets:
        leaf, private = issuer.issue(identity, now, days)
        _write(key, private, 0o600, replace=renew)
        _write(certificate, leaf, 0o644, replace=renew)
        names = ", ".join(filter(None, (identity.uri, identity.dns)))
        sys.stdout.write(f"{certificate}: {names}; key {key.name}\n")
    certificate, key, _ = targets[0]
    # JSON strings are YAML, whatever the path is made of.
    quoted = [json.dumps(str(path)) for path in (certificate, key, directory / "ca.pem")]
    sys.stdout.write(_SNIPPET.format(certificate=quoted[0], key=quoted[1], ca=quoted[2]))


def open_issuer(directory: Path, now: datetime, say: Callable[[str], object] = sys.stdout.write) -> Issuer:
    """The CA in a directory, which is made, and that is said, if there is none. Raises CannotIssue, OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, key = directory / "ca.pem", directory / "ca-key.pem"
    if not certificate.exists() and not key.exists():
        made = Issuer.create(now)
        _write(key, key_pem(made.key), 0o600, replace=False)
        _write(certificate, pem(made.certificate), 0o644, replace=False)
        say(f"{certificate}: the CA; key {key.name}\n")
        return made
    for path, other in ((certificate, key), (key, certificate)):
        if not path.exists():
            raise CannotIssue(f"{path} is missing, but {other.name} is there: a CA needs both")
    try:
        found = Issuer.load(certificate.read_bytes(), key.read_bytes())
    except (ValueError, TypeError) as error:
        raise CannotIssue(f"{certificate} and {key.name} cannot be used as a CA: {error}") from None
    if found.certificate.not_valid_after_utc <= now:
        raise CannotIssue(f"{certificate} expired at {found.certificate.not_valid_after_utc}: move the directory away")
    return found


def _write(path: Path, content: bytes, mode: int, *, replace: bool) -> None:
    """Write the whole file or nothing; a reader never sees half of it. Without `replace` an existing file stays."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
        if replace:
            beside.replace(path)
        else:
            path.hardlink_to(beside)
    except FileExistsError:
        raise CannotIssue(f"{path} is there and is not overwritten") from None
    finally:
        beside.unlink(missing_ok=True)
