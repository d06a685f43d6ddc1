"""The seam between the engine and the lanes, which run handlers: in coroutines, threads and processes.

A lane is given units and answers each with an `Outcome`, exactly once for each submit. It never acknowledges, extends
or releases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome


class Unit(Protocol):
    """What one call of a handler works on: one delivery, or a bundle of them."""

    started: float
    """When the handler was called, on the engine's clock. The lane writes it, once for each submit; 0.0 before."""

    @property
    def lost(self) -> bool:
        """Whether the lease has run out, or was given back. The lane does not start a lost unit.

        Race: the lane writes `started` before it looks here, and the engine writes this before it looks at `started`.
        So a unit never starts after the engine has found that it has not.
        """
        ...


U = TypeVar("U", bound=Unit)
U_contra = TypeVar("U_contra", bound=Unit, contravariant=True)


class Answer(msgspec.Struct, Generic[U], gc=False, frozen=True):
    """What a lane says of a unit, or a handler of its message while it runs.

    A struct: one is made for each message, in a third of the time of a named tuple.
    """

    unit: U
    outcome: Outcome
    final: bool = True
    """Whether the handler has ended; False for what a handler says of its message while it runs."""


Say = Callable[[Answer[U]], bool]
"""Takes an answer to the engine, from any thread. False: the engine has ended, the answer changes nothing."""


class Answers(Protocol[U]):
    """Where a lane puts its answers, from any thread: the engine's mailbox, or what stands before it."""

    def post(self, items: Sequence[Answer[U]], /) -> bool:
        """Post answers. False: the engine has ended."""
        ...

    def post_one(self, item: Answer[U], /) -> bool:
        """Post one answer, as `post` does."""
        ...


class UnitHandler(Protocol[U]):
    """What a lane calls: a user's function with everything around it. `leasekeeper.lanes.handler.Handler` is one."""

    @property
    def name(self) -> str:
        """The function's qualified name."""
        ...

    def run(self, say: Say[U], unit: U, /) -> Coroutine[None, None, Outcome]:
        """Await the handler; for coroutine handlers."""
        ...

    def run_blocking(self, say: Say[U], unit: U, /) -> Outcome:
        """Call the handler in this thread; for `def` handlers."""
        ...

    def timed_out(self, timeout: float, unit: U | None = None, /) -> str:
        """The sentence for a handler that ran longer than `timeout` seconds, with that unit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatistics:
    """What a lane is doing now."""

    running: int
    """Handlers that run."""
    waiting: int
    """Messages that wait for a worker, a permit or a thread, or for others to make a batch."""
    workers: int
    """Workers hired, or threads or worker processes started; tasks for a semaphore."""
    deaths: Mapping[str, int] = field(default_factory=dict)
    """Worker processes that have died, by cause; empty in other lanes."""
    payload_bytes: int | None = None
    """Bytes of payloads that were fetched, or are being fetched; None without the option `payloads`."""


class Lane(Protocol[U_contra]):
    """Where handlers run. All methods are called on the engine's loop."""

    @property
    def looks_before_start(self) -> bool:
        """Whether it looks at `lost` when it starts a unit, so that a unit can be taken back until then."""
        ...

    async def open(self) -> None:
        """Get ready to run; called once, before the first receive. What it raises fails the start."""
        ...

    def submit(self, units: Sequence[U_contra]) -> bool:
        """Run the handler for each unit, now or as soon as possible. False: this lane cannot run anything any more."""
        ...

    def stop_collecting(self) -> None:
        """Run at once what waits to be joined with other units; a lane that joins none does nothing."""
        ...

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        ...

    def end(self, unit: U_contra | None = None) -> bool:
        """End the handler of that unit, or all handlers (None): they answer `Ended`. False: this lane cannot."""
        ...

    async def close(self) -> None:
        """Give back workers; nothing is submitted afterwards."""
        ...

    def statistics(self) -> LaneStatistics:
        """What the lane is doing now."""
        ...


@runtime_checkable
class Resizable(Protocol):
    """A lane that can let more handlers run at the same time, or fewer, while it works."""

    def resize(self, options: Options) -> None:
        """Let as many handlers run as these options say. Handlers that are too many run to their end."""
        ...


@runtime_checkable
class Together(Protocol):
    """A lane that can run messages in one batch, as those of one message group of a FIFO queue."""

    def submit_together(self, units: Sequence[Delivery]) -> bool:
        """Run these in one batch, in order; as `Lane.submit` otherwise."""
        ...
