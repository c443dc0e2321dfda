"""Where a request goes: the cluster that a route chose, and what is done to the messages on the way."""

from __future__ import annotations

from typing import Final

from pyproxy.config.route import WeightedCluster
from pyproxy.config.subset import NO_CRITERIA, Criteria
from pyproxy.routes.header_changes import RequestChange, ResponseChange


class Target:
    """`cluster` is empty where none could be found: Envoy's NC, `cluster_not_found`."""

    __slots__ = ("cluster", "entry", "mutate_request", "mutate_response", "subset", "unknown")

    def __init__(
        self,
        cluster: str,
        mutate_request: RequestChange | None = None,
        mutate_response: ResponseChange | None = None,
        entry: WeightedCluster | None = None,
        subset: Criteria = NO_CRITERIA,
    ) -> None:
        self.cluster = cluster
        self.mutate_request = mutate_request
        self.mutate_response = mutate_response
        self.entry = entry
        """The member of a weighted split, if it is one."""

        self.subset = subset
        """The metadata that the host has to have."""

        self.unknown = ""
        """The name that a header gave, where there is no such cluster: somebody may ask for it."""

    def __repr__(self) -> str:
        return f"<Target {self.cluster or 'none'}>"


NO_TARGET: Final = Target("")
