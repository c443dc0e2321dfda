"""EDS: the hosts come by name, and change while we run.

The process that speaks to the control plane has waited for the first answer before the cluster was told to anybody
(initial_fetch_timeout), so a cluster need not wait here.
"""

from __future__ import annotations

from collections.abc import Callable

from pyproxy.clusters.discovery.discovery import Discovering
from pyproxy.clusters.membership import members_of
from pyproxy.config.cluster import AssignmentConfig, EdsConfig
from pyproxy.config.config_source import slot_of
from pyproxy.config.late import LateValues


class EdsDiscovery:
    """Follows one assignment."""

    __slots__ = ("_assignments", "_cluster", "_forget", "_slot")

    def __init__(self, config: EdsConfig, assignments: LateValues[AssignmentConfig]) -> None:
        self._slot = slot_of(config.source, config.service_name)
        self._assignments = assignments
        self._cluster: Discovering | None = None
        self._forget: Callable[[], None] | None = None

    def start(self, cluster: Discovering) -> None:
        self._cluster = cluster
        self._forget = self._assignments.watch(self._slot, self._on_assignment)
        cluster.on_settled()

    def close(self) -> None:
        self._cluster = None
        if self._forget is not None:
            self._forget()

    def _on_assignment(self, assignment: AssignmentConfig | None) -> None:
        cluster = self._cluster
        if cluster is not None:
            if assignment is not None:
                cluster.on_priorities(
                    overprovisioning=assignment.overprovisioning, weighted=assignment.weighted_priority_health
                )
            cluster.on_members(() if assignment is None else members_of(assignment.endpoints))
