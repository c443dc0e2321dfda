"""`main`: the `pyproxy` command. Bare Envoy flags start the proxy; a first word without a dash is a subcommand.

Everything heavy is imported where it is needed: `--version` and `--help` load no protobuf, `--mode validate` no loop.
"""

from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Sequence

from pyproxy.server.flags import FLAGS, Early, Flag, Options, UsageError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
SUBCOMMANDS = ("compat", "certs", "control-plane", "intercept", "tap")

_USAGE = """\
usage: pyproxy -c FILE [flags]       start the proxy, with Envoy's flags and an Envoy v3 bootstrap
       pyproxy --mode validate -c FILE    check the bootstrap: every error, with its line
       pyproxy compat FILE [--json]       what of the bootstrap this proxy does not honour
       pyproxy certs --dir DIR ID...      a local CA and certificates, for development
       pyproxy control-plane --config mesh.yaml    a control plane for laptops and tests
       pyproxy intercept apply|remove|print    bring a pod's traffic to the proxy, with iptables
       pyproxy tap [--status 5xx]         watch the requests of a running proxy
"""
_EPILOGUE = """\
examples:
  pyproxy -c envoy.yaml --concurrency 2 -l debug
  pyproxy -c envoy.yaml --config-yaml 'admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}'

exit codes: 0 done; 1 the configuration or the command line is not valid (as Envoy), or the proxy could not start;
2 wrong usage of a subcommand; 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and not words[0].startswith("-"):
            return _subcommand(words[0], words[1:])
        return _envoy(words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def _subcommand(name: str, words: list[str]) -> int:
    if name == "compat":
        from pyproxy.server import compat

        return compat.main(words)
    if name == "certs":
        from pyproxy.server import certs

        return certs.main(words)
    if name == "control-plane":
        from pyproxy.server import control_plane

        return control_plane.main(words)
    if name == "intercept":
        from pyproxy.server import intercept

        return intercept.main(words)
    if name == "tap":
        from pyproxy.server import tap

        return tap.main(words)
    near = difflib.get_close_matches(name, SUBCOMMANDS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; expected flags, or one of {', '.join(SUBCOMMANDS)}"
    sys.stderr.write(f"pyproxy: unknown command {name!r}{hint}\n")
    return EXIT_USAGE


def _envoy(words: list[str]) -> int:
    try:
        options = Options.parse(words)
    except UsageError as error:
        sys.stderr.write(f"pyproxy: {error}\n")
        return EXIT_FAILED
    if options.early is not None:
        _write_early(options.early)
        return EXIT_OK
    if options.mode == "serve":
        from pyproxy.server import launch

        return launch.run(options)
    return _validate(options)


def _validate(options: Options) -> int:
    from pyproxy.server.configuration import ConfigurationError, read_configuration

    try:
        read_configuration(options)
    except ConfigurationError as error:
        sys.stderr.write("\n".join(error.lines()) + "\n")
        return EXIT_FAILED
    if options.mode == "validate":
        sys.stdout.write(f"configuration '{options.config_path}' OK\n")
    return EXIT_OK


def _write_early(early: Early) -> None:
    if early is Early.HELP:
        sys.stdout.write(help_text())
    elif early is Early.VERSION:
        from pyproxy.server.build_info import version_text

        sys.stdout.write(f"pyproxy  version: {version_text()}\n")
    else:
        sys.stderr.write("disabled\n")


def help_text() -> str:
    """What `--help` shows."""
    lines = [_USAGE, "flags:"]
    lines.extend(_describe(flag) for flag in FLAGS if flag.matters)
    without = ", ".join(f"--{flag.name}" for flag in FLAGS if not flag.matters)
    lines.append("\naccepted for Envoy's sake, without effect:")
    lines.append(textwrap.fill(without, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    lines.append(f"\n{_EPILOGUE}")
    return "\n".join(lines)


def _describe(flag: Flag) -> str:
    left = f"  {flag.spelling} {flag.takes}".rstrip()
    return f"{left:<42}{flag.help}" if len(left) < 42 else f"{left}\n{'':<42}{flag.help}"
