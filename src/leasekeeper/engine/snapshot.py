"""A runner's parts at one moment. `leasekeeper.observe.statistics` makes statistics of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leasekeeper.core.delivery import LedgerStatistics
    from leasekeeper.core.gate import GateStatistics
    from leasekeeper.core.group import GroupStatistics
    from leasekeeper.core.phases import Phase
    from leasekeeper.core.throttle_policy import ThrottlerStatistics
    from leasekeeper.engine.batcher import BatcherStatistics
    from leasekeeper.engine.stopping import StopStatistics
    from leasekeeper.lanes.api import LaneStatistics
    from leasekeeper.lanes.routed import RouteStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSnapshot:
    """Every part of a runner, as `Runner.snapshot` saw it."""

    queue: str
    phase: Phase
    healthy: bool
    problem: Exception | None
    seconds: float
    concurrency: int
    slots: int
    busy: float
    running_seconds: float
    stop: StopStatistics | None
    taken: int
    pollers: int
    lag: float
    longest_lag: float
    loop_blocked: float
    loop_blocked_by: str
    ledger: LedgerStatistics
    lane: LaneStatistics
    gate: GateStatistics | None
    throttler: ThrottlerStatistics
    deletes: BatcherStatistics
    extensions: BatcherStatistics
    releases: BatcherStatistics
    groups: GroupStatistics | None
    routes: RouteStatistics | None

    @property
    def words(self) -> str:
        """The snapshot in a few words."""
        pollers = "1 poller" if self.pollers == 1 else f"{self.pollers} pollers"
        return (
            f"{self.queue} {self.phase.name} {pollers}, {self.lane.running}/{self.concurrency} running, "
            f"{self.lane.waiting} waiting, {self.ledger.held['acking']} acking"
        )
