"""Polling: one type, asked for again and again as JSON over HTTP/1 (Envoy: REST-JSON polling subscriptions)."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import Any, Final

from google.protobuf import json_format

from pyproxy import clock, tasks
from pyproxy.config.config_source import ApiSourceConfig
from pyproxy.config.descriptors import message_class, pool
from pyproxy.telemetry.metrics import StatsStore
from pyproxy.telemetry.xds_stats import ControlPlaneStats
from pyproxy.xds_client.protocol.messages import MalformedResponse
from pyproxy.xds_client.protocol.mux import Mux
from pyproxy.xds_client.protocol.watch import NEVER
from pyproxy.xds_client.transport.dialer import Dialer, NoEndpoint
from pyproxy.xds_client.transport.http_post import HttpFailed, post
from pyproxy.xds_client.transport.methods import rest_path

log = logging.getLogger("pyproxy.config")

_JITTER: Final = 0.1
_OK, _NOT_MODIFIED = 200, 304
_REQUEST: Final = "envoy.service.discovery.v3.DiscoveryRequest"
_RESPONSE: Final = "envoy.service.discovery.v3.DiscoveryResponse"


class RestPoll:
    """The state of the protocol is that of SotW; each poll is a stream of one request and one response."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dialer: Dialer,
        api: ApiSourceConfig,
        type_url: str,
        node: Any,
        rng: random.Random,
    ) -> None:
        # Envoy has no `control_plane.` for it.
        self.mux = Mux(api, node, ControlPlaneStats(StatsStore()), clock.monotonic)
        self._loop = loop
        self._dialer = dialer
        self._api = api
        self._type_url = type_url
        self._path = rest_path(type_url)
        self._rng = rng
        self._now = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._complaint = ""
        self._answered: frozenset[str] = frozenset()
        """The names that the version which we have is about."""

    def start(self) -> None:
        """Once."""
        if self._task is None:
            self._task = tasks.spawn(self._run(), f"xds {self._path}")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._alarm is not None:
            self._alarm.cancel()

    def wake(self) -> None:
        """What is wanted has changed: ask without waiting for the next turn."""
        self._now.set()
        self._set_alarm()

    async def _run(self) -> None:
        while True:
            self._now.clear()
            try:
                async with asyncio.timeout(self._api.request_timeout):  # noqa: TID251 - one per poll
                    await self._poll()
                self._complaint = ""
            except (HttpFailed, NoEndpoint, OSError, MalformedResponse, TimeoutError) as error:
                self.mux.disconnected()
                self._complain(str(error) or f"no answer within {self._api.request_timeout:g}s")
            except Exception:
                # A fault of ours must not leave us deaf for ever.
                log.exception("what the control plane %s sent could not be taken in", self._dialer.name)
            self._set_alarm()
            delay = self._api.refresh_delay * (1 + _JITTER * self._rng.random())
            try:
                await asyncio.wait_for(self._now.wait(), delay)
            except TimeoutError:
                continue

    async def _poll(self) -> None:
        self.mux.connected()
        request = self.mux.next_request()
        if request is None:
            return
        message: Any = message_class(_REQUEST).FromString(request)
        names = frozenset(message.resource_names)
        if names != self._answered:
            message.version_info = ""  # else a server that has nothing newer would not tell of names that are new
        status, body = await post(self._dialer, self._path, _to_json(message))
        if status == _NOT_MODIFIED:
            return
        if status != _OK:
            raise HttpFailed(f"status {status}")
        self._answered = names
        self.mux.receive(_from_json(body, self._type_url))

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        at = min((state.next_expiry() for state in self.mux.types.values()), default=NEVER)
        if at != NEVER:
            self._alarm = self._loop.call_later(max(0.0, at - self.mux.now()), self._expire)

    def _expire(self) -> None:
        self.mux.expire()
        self._set_alarm()

    def _complain(self, said: str) -> None:
        level = logging.WARNING if said != self._complaint else logging.DEBUG
        log.log(level, "the control plane %s, %s: %s; what was learnt stays", self._dialer.name, self._path, said)
        self._complaint = said


def _to_json(message: Any) -> bytes:
    return json.dumps(
        json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())
    ).encode()


def _from_json(body: bytes, type_url: str) -> bytes:
    """Raises MalformedResponse. A response need not say its type: it was asked for one."""
    message: Any = message_class(_RESPONSE)()
    try:
        json_format.Parse(body, message, ignore_unknown_fields=True, descriptor_pool=pool(), max_recursion_depth=100)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MalformedResponse(f"no DiscoveryResponse in JSON: {str(error)[:200]}") from error
    message.type_url = message.type_url or type_url
    data: bytes = message.SerializeToString()
    return data
