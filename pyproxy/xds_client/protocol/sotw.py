"""SotW: each request says everything that is wanted, each response everything that is (envoy.service.discovery.v3)."""

from __future__ import annotations

from typing import Any

from pyproxy.xds_client.protocol.messages import Response, sotw_request, sotw_resources
from pyproxy.xds_client.protocol.type_state import TypeState
from pyproxy.xds_client.protocol.types import COMPLETE, WHOLE_WORLD
from pyproxy.xds_client.protocol.watch import Watch
from pyproxy.xds_client.subscription import WILDCARD, Resource


class SotwState(TypeState):
    """One type of a SotW stream.

    Only responses for listeners, clusters and scopes are complete: of other types what is not in a response stays.
    """

    def __init__(self, type_url: str) -> None:
        super().__init__(type_url)
        self._nonce = ""
        self._sent: set[str] | None = None
        """What the control plane was told on this stream; None for nothing yet."""

    def connected(self) -> None:
        self._nonce = ""
        self._sent = None
        self.verdicts.clear()

    def wants_to_send(self, now: float) -> bool:
        if self.next_answer() <= now:
            return True
        if not self.watches:
            # No names would ask for everything there is, unless some were named before.
            return bool(self._sent) and WILDCARD not in (self._sent or ())
        return self._sent is None or self._sent != self.told()

    def next_request(self, node: Any, now: float) -> bytes:
        refusal = ""
        if self.next_answer() <= now:
            verdict = self.verdicts.popleft()
            self._nonce, refusal = verdict.nonce, verdict.refusal
        self._sent = self.told()
        names = () if self._sent == {WILDCARD} else sorted(self._sent)
        return sotw_request(self.type_url, node, self.version, self._nonce, names, refusal)

    def _take(self, response: Response, now: float) -> tuple[dict[Watch, set[str]], dict[str, str]]:
        found = sotw_resources(response, self.bodies)
        resources: dict[str, Resource] = {}
        twice: dict[str, str] = {}
        for one in self._beat(found, now):
            if one.name in resources:
                twice[one.name] = f"duplicate {WHOLE_WORLD.get(self.type_url, 'resource')} {one.name} found"
            resources.setdefault(one.name, one)
        there = {one.name for one in found}
        concerned = self._concerned(there)
        gone = (
            [name for name in {**self.held, **self.refused} if name not in there] if self.type_url in COMPLETE else []
        )
        reasons = self._apply(resources.values(), gone, response.version, now)
        if self.type_url in COMPLETE:
            self._missing(name for name in self.told() if name not in there)
        return concerned, reasons | twice
