"""Notices when files change: written in place, moved over, or swapped behind a symbolic link as Kubernetes does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pyproxy.config.invalid import InvalidConfig
from pyproxy.config.late import LateValues
from pyproxy.config.tls import DownstreamTlsConfig, TlsSource, UpstreamTlsConfig
from pyproxy.config.tls_reload import reload_tls
from pyproxy.tasks import call_every

log = logging.getLogger("pyproxy.secrets")

INTERVAL: Final = 0.5
"""Seconds between looks. A look is one stat per file; there are a few dozen of them."""

Tls = DownstreamTlsConfig | UpstreamTlsConfig
_Fingerprint = tuple[tuple[int, int, int] | None, ...]
Tell = Callable[[tuple[str, ...], str], None]


def _nobody(files: tuple[str, ...], fault: str) -> None:
    """Where nobody wants to hear of it."""


class _Watched:
    """Some files that belong together, and what to do when they have changed."""

    __slots__ = ("_complained", "_files", "_reload", "_seen", "_tell")

    def __init__(self, files: tuple[str, ...], reload: Callable[[], None], tell: Tell) -> None:
        self._tell = tell
        self._files = files
        self._reload = reload
        self._seen = self._look()
        self._complained: _Fingerprint = ()

    def tick(self) -> None:
        """What could not be used is tried again, until it can: a key may come a moment after its certificate."""
        before = self._look()
        if before == self._seen:
            return
        try:
            self._reload()
        except Exception as error:  # noqa: BLE001 - whatever it was, the old ones go on
            if before != self._complained:
                log.warning("%s changed and cannot be used, so the old ones stay: %s", ", ".join(self._files), error)
                self._complained = before
                self._tell(self._files, str(error))
            return
        if self._look() == before:  # else they changed meanwhile
            self._seen = before
            log.info("%s changed and is in use", ", ".join(self._files))
            self._tell(self._files, "")

    def _look(self) -> _Fingerprint:
        return tuple(_fingerprint(file) for file in self._files)


class SecretWatch:
    """All the secrets of a worker, in files that are watched and from elsewhere. Costs nothing where there are none."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Tell = _nobody) -> None:
        """`tell(files, fault)` is called when files have changed; the fault is empty where they are in use."""
        self.values: LateValues[bytes] = LateValues()
        """Secrets that came from elsewhere, by slot."""
        self._loop = loop
        self._tell = tell
        self._watched: dict[int, _Watched] = {}
        self._last = 0
        self._stop: Callable[[], None] | None = None

    def watch(self, files: tuple[str, ...], reload: Callable[[], None]) -> Callable[[], None]:
        """Call `reload` after any of the files has changed, until the returned function is called.

        If it raises it is called again at each look, until it does not.
        """
        self._last += 1
        number = self._last
        self._watched[number] = _Watched(files, reload, self._tell)
        if self._stop is None:
            self._stop = call_every(self._loop, INTERVAL, self._tick)

        def forget() -> None:
            self._watched.pop(number, None)

        return forget

    def follow(self, source: TlsSource, use: Callable[[Tls], None]) -> Callable[[], None]:
        """Call `use` with what the source makes whenever its files or secrets have changed, and at once where all its
        secrets are here, until the returned function is called."""

        def reload() -> None:
            known = {ref.slot: self.values.get(ref.slot) for ref in source.secrets}
            here = {slot: body for slot, body in known.items() if body is not None}
            if len(here) == len(known):
                use(reload_tls(source, here))

        def on_secret(body: bytes | None) -> None:
            if body is None:
                return  # who has it goes on with it
            try:
                reload()
            except InvalidConfig as error:
                log.warning("secrets changed and cannot be used, so the old ones stay: %s", error)

        ends = [self.values.watch(ref.slot, on_secret) for ref in source.secrets]
        if source.files:
            ends.append(self.watch(source.files, reload))

        def forget() -> None:
            for end in ends:
                end()

        return forget

    def close(self) -> None:
        self._watched.clear()
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _tick(self) -> None:
        for one in list(self._watched.values()):
            one.tick()


def _fingerprint(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
