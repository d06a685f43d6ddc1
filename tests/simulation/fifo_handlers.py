"""The handlers of a simulation with a FIFO queue: they fail, settle early, are slow, and tell the record what they do.

Used by `fifo_simulation.py`. There is one for single messages and one for batches.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fifo_conditions import Kind
from fifo_record import Run

from leasekeeper.batch import Batch  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.message import Message  # noqa: TC001 - as above
from leasekeeper.outcomes import Reject, Retry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from fifo_conditions import FifoConditions
    from fifo_record import Record
    from fifo_server import Server

    from leasekeeper.testing.world import Running, World

GOOD = {"done", "ack", "ack and fail", "withhold"}
"""Ends of runs after which a message is done."""


class Handlers:
    """Makes the handlers of consumers.

    Attributes:
        poison: messages that never succeed.
        calm: whether all other messages succeed, quickly.
    """

    def __init__(
        self,
        conditions: FifoConditions,
        random: Random,
        *,
        world: World,
        record: Record,
        server: Server,
        consumers: Sequence[Running],
    ) -> None:
        self._conditions = conditions
        self._random = random
        self._world = world
        self._record = record
        self._server = server
        self._consumers = consumers
        self._calls = 0
        self._copies = conditions.max_receives is not None
        """Whether a rejected message is copied; otherwise it is tried again, before what stands behind it."""
        self.poison: set[str] = set()
        self.calm = False

    def handler(self, index: int) -> Any:
        """The handler of the consumer with that number."""

        async def handle(message: Message[str]) -> object:
            return await self._handle(index, message)

        async def handle_batch(batch: Batch[str]) -> None:
            await self._handle_batch(index, batch)

        return handle if self._conditions.options["batch"] is None else handle_batch

    async def _handle(self, index: int, message: Message[str]) -> object:
        (run,) = self._begin(index, [message])
        end = "cancelled"
        try:
            await asyncio.sleep(self._time())
            end = self._end(message)
            if end in {"ack", "ack and fail"}:
                await asyncio.sleep(self._random.uniform(0, 0.3))  # settled early, and still at work
        finally:
            self._finish([run], [end])
        return _leave(end)

    async def _handle_batch(self, index: int, batch: Batch[str]) -> None:
        """Fail as a whole, or name those that fail; behind these the rest of a group does not count (L25)."""
        runs = self._begin(index, batch)
        ends = ["cancelled"] * len(batch)
        try:
            await asyncio.sleep(self._time())
            raises = not self.calm and self._random.random() < self._conditions.failing / 3
            if raises or any(message.body in self.poison for message in batch):
                ends = ["fail"] + ["behind"] * (len(batch) - 1)
                if len(batch) > 1 and self._conditions.options["on_batch_error"] != "retry":
                    ends[0] = "behind"  # it runs again in a part of the batch, before anything is decided
                raise RuntimeError("as a whole")
            failed = set[str | None]()
            ends = [self._name(batch, message, failed) for message in batch]
        finally:
            self._finish(runs, ends)

    def _name(self, batch: Batch[str], message: Message[str], failed: set[str | None]) -> str:
        """Say how a message ends; one behind a failed message is not acked, for what a handler acks is done."""
        if self.calm or self._random.random() >= self._conditions.failing:
            return "done"
        end = self._random.choice(("retry", "reject") if message.group_id in failed else ("retry", "reject", "ack"))
        if end == "ack":
            batch.ack(message)
        elif end == "retry":
            failed.add(message.group_id)
            batch.retry(message, after=self._random.choice((None, 1)))
        else:
            self._record.rejected.add(message.body)
            batch.reject(message, "no")
            if not self._copies:
                failed.add(message.group_id)
        return end

    def _begin(self, index: int, messages: Sequence[Message[str]]) -> list[Run]:
        record, conditions, now = self._record, self._conditions, self._world.now
        self._calls += 1
        runs = []
        for message in messages:
            body, count = message.body, message.receive_count
            run = Run(index, body, self._server.received[body, count], self._calls)
            runs.append(run)
            first = not record.runs[body]
            record.started(now, run)
            if message is messages[0] and self._waits_for_deletes(len(messages)):
                record.confirmed(now, run)
            if conditions.kind is not Kind.FAILURES:
                continue
            if first and count > 1:
                record.broke(now, f"{body} runs for the first time at receive {count}")
            if conditions.consumers == 1 and conditions.options["batch"] is None:
                if message.attempt != record.runs[body]:
                    record.broke(now, f"run {record.runs[body]} of {body} is attempt {message.attempt}")
                if record.runs[body] > conditions.last_attempt:
                    record.broke(now, f"{body} runs after its last attempt, the {conditions.last_attempt:g}th")
        if record.busy(index) > conditions.options["concurrency"]:
            record.broke(now, f"{record.busy(index)} handlers at once in consumer {index}")
        return runs

    def _waits_for_deletes(self, count: int) -> bool:
        """Whether a call starts only when all earlier messages are deleted; a part of a batch does not."""
        options = self._conditions.options
        part = options["batch"] is not None and options["on_batch_error"] != "retry"
        return options["fifo_ack"] == "confirmed" and not (part and count < (options["batch"] or 1))

    def _finish(self, runs: Sequence[Run], ends: Sequence[str]) -> None:
        record, now = self._record, self._world.now
        if not self._consumers[runs[0].consumer].process.alive:
            return
        failed = set[str]()
        for run, end in zip(runs, ends, strict=True):
            group = record.places[run.body].group
            record.ended(now, run, end)
            if group in failed:
                continue
            if end in GOOD:
                record.success(now, run)
            elif end != "reject" or not self._copies:
                failed.add(group)
            if end not in {*GOOD, "behind"}:
                record.failed(run)

    def _time(self) -> float:
        conditions = self._conditions
        if self.calm:
            return 0.01
        if self._random.random() < conditions.slow:
            return 3.0 * conditions.visibility
        return self._random.uniform(*conditions.work)

    def _end(self, message: Message[str]) -> str:
        """Choose how this run ends, and call the methods of the message that this needs."""
        body = message.body
        if body in self.poison:
            return "fail"
        if self.calm or self._random.random() >= self._conditions.failing:
            return "done"
        end = self._random.choice(
            ("fail", "fail", "retry", "retry later", "reject", "ack", "ack and fail", "early retry", "withhold")
        )
        if end == "reject":
            self._record.rejected.add(body)
        elif end in {"ack", "ack and fail"}:
            message.ack()
        elif end == "early retry":
            message.retry(1)
        elif end == "withhold":
            message.withhold()
            message.ack()
        return end


def _leave(end: str) -> object:
    if end in {"fail", "ack and fail"}:
        raise RuntimeError(end)
    if end in {"retry", "retry later"}:
        return Retry(2 if end == "retry" else 6)
    return Reject(end) if end == "reject" else None
