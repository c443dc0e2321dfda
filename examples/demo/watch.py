"""Looks at the admin of every proxy, as an operator would: certificates, hosts that are out, events, exemplars."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

_EXEMPLAR = re.compile(r"^(\w+_bucket)\{(.*?)\} \S+ # \{(.*?)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Certificate:
    """The one that a proxy shows to others."""

    serial: str
    expires: datetime

    @property
    def hours_left(self) -> float:
        return (self.expires - datetime.now(UTC)).total_seconds() / 3600


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a proxy."""

    time: str
    proxy: str
    kind: str
    subject: str
    message: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FoundExemplar:
    """A request that a bucket of a histogram gives as an example."""

    proxy: str
    metric: str
    labels: Mapping[str, str]
    trace: str
    milliseconds: float


class Watch:
    """What was seen last. `look` looks again.

    `admins` are those of all proxies, by name; of one of them the hosts of some clusters are looked at.
    """

    def __init__(self, admins: Mapping[str, str], balancer: str, clusters: str) -> None:
        self._admins = admins
        self._balancer = balancer
        self._clusters = clusters
        self._session: ClientSession | None = None
        self._heard: dict[str, int] = {}
        self.certificates: dict[str, Certificate] = {}
        self.ejected: set[str] = set()
        """Addresses of hosts that the balancer leaves out."""
        self.events: deque[Happened] = deque(maxlen=1000)

    async def start(self) -> None:
        self._session = ClientSession(timeout=ClientTimeout(total=10))

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def look(self) -> None:
        await asyncio.gather(self._hosts(), *(self._proxy(name) for name in self._admins))

    async def exemplars(self, trace: str) -> list[FoundExemplar]:
        """Wherever in the metrics of a proxy a trace is given as an example."""
        found: list[FoundExemplar] = []
        for name in self._admins:
            text = await self._get(name, "/stats/prometheus?openmetrics&usedonly")
            for line in text.splitlines():
                match = _EXEMPLAR.match(line)
                if match and trace in match[3]:
                    labels = dict(_LABEL.findall(match[2]))
                    found.append(FoundExemplar(name, match[1], labels, trace, float(match[4])))
        return found

    async def _proxy(self, name: str) -> None:
        since = self._heard.get(name, 0)
        for line in (await self._get(name, f"/events?since={since}")).splitlines():
            told = json.loads(line)
            self._heard[name] = max(self._heard.get(name, 0), told["id"])
            words = (told["time"], name, told["kind"], told["subject"], told["message"])
            self.events.append(Happened(*words, told.get("fields", {})))
        for one in json.loads(await self._get(name, "/certs") or "{}").get("certificates", []):
            for chain in one["cert_chain"]:
                expires = datetime.strptime(chain["expiration_time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
                self.certificates[name] = Certificate(chain["serial_number"], expires)

    async def _hosts(self) -> None:
        told = json.loads(await self._get(self._balancer, f"/clusters?format=json&filter={self._clusters}") or "{}")
        hosts = [host for cluster in told.get("cluster_statuses", []) for host in cluster.get("host_statuses", [])]
        out = [host for host in hosts if host["health_status"].get("failed_outlier_check")]
        addresses = [host["address"]["socket_address"] for host in out]
        self.ejected = {f"{one['address']}:{one['port_value']}" for one in addresses}

    async def _get(self, name: str, path: str) -> str:
        """Empty if the proxy does not answer now."""
        assert self._session is not None
        try:
            async with self._session.get(self._admins[name] + path) as answer:
                return await answer.text() if answer.status == 200 else ""
        except (ClientError, TimeoutError):
            return ""
