"""One invocation of a Lambda function: the messages of one queue, run by its handler, and what became of each.

Made by `leasekeeper.contrib.lambda_` for each event, on its event loop. It promises that no message behind a failed one
of its message group counts as done, and that it ends before the function's time does, as far as handlers let it.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.core.batch_collector import Collected
from leasekeeper.core.decisions import decide
from leasekeeper.core.delivery import Action
from leasekeeper.engine.policies import outcome_policy
from leasekeeper.errors import HandlerTimeout
from leasekeeper.events import Conclusion, HandlersEnded
from leasekeeper.lanes.batch_handler import BatchHandler
from leasekeeper.lanes.bundles import Bundle
from leasekeeper.lanes.handler_context import BatchHandlerInContext, HandlerInContext
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.loggers import safe_logger
from leasekeeper.message_context import MessageContext
from leasekeeper.outcomes import Done, Failed, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from leasekeeper.contrib.lambda_queue import LambdaQueue
    from leasekeeper.core.decisions import Decision
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.events import Event
    from leasekeeper.lanes.api import Answer
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome


class Invocation:
    """The messages of one event that are of one queue.

    Args:
        handler: of the queue's consumer, bound to what the lifespan yields.
        options: of the consumer.
        queue: for back-offs and dead letters.
        threads: run `def` handlers.
        emit: takes events.
        name: of the queue.
    """

    def __init__(
        self,
        handler: AnyHandler,
        options: Options,
        queue: LambdaQueue,
        threads: Executor,
        *,
        emit: Callable[[Event], None],
        name: str,
    ) -> None:
        self._handler = handler
        self._called = _in_context(handler, name)
        self._options = options
        self._queue = queue
        self._threads = threads
        self._emit = emit
        self._log = safe_logger(options.logger)
        self._name = name
        self._fifo = name.endswith(".fifo")
        self._policy = outcome_policy(options, copies=True)
        self._free = asyncio.Semaphore(options.concurrency)
        self._done: set[Delivery] = set()
        self._halted: set[str | None] = set()
        """Groups of a FIFO queue with a message that is not done: none behind it runs."""
        self._answers: dict[Delivery, Outcome] = {}

    async def run(self, rows: Sequence[Delivery], seconds: float | None) -> list[Delivery]:
        """Run the handler for all rows, in at most that many seconds; returns those that Lambda has to bring again."""
        chains = [asyncio.ensure_future(self._chain(calls)) for calls in self._chains(rows)]
        if chains:
            await asyncio.wait(chains, timeout=seconds)
        late = [chain for chain in chains if not chain.done()]
        for chain in late:
            chain.cancel()
        for end in await asyncio.gather(*chains, return_exceptions=True):
            if isinstance(end, Exception):
                raise end
        failed = self._failed(rows)
        if late:
            self._log.warning(
                "queue %s: the function's time ends: %d of %d messages come again. Raise its timeout, or lower the "
                "batch size of the event source mapping",
                self._name,
                len(failed),
                len(rows),
            )
        return failed

    def _failed(self, rows: Sequence[Delivery]) -> list[Delivery]:
        failed, groups = [], set()
        for row in rows:
            group = _group(row) if self._fifo else None
            if row not in self._done or (group is not None and group in groups):
                failed.append(row)
                groups.add(group)
        return failed

    # Which calls there are, and in which order

    def _chains(self, rows: Sequence[Delivery]) -> Iterator[list[list[Delivery]]]:
        """What runs one after another: on a FIFO queue the calls for a group, else each call alone."""
        groups: dict[object, list[Delivery]] = {}
        by_group = self._fifo and not (self._options.batch and self._options.batch_groups == "several")
        for row in rows:
            groups.setdefault(_group(row) if by_group else "", []).append(row)
        size = self._options.batch or 1
        for group in groups.values():
            calls = [group[at : at + size] for at in range(0, len(group), size)]
            if self._fifo:
                yield calls
            else:
                yield from ([call] for call in calls)

    async def _chain(self, calls: list[list[Delivery]]) -> None:
        for rows in calls:
            async with self._free:
                startable = [row for row in rows if not self._fifo or _group(row) not in self._halted]
                if startable and self._options.batch is not None:
                    await self._batch(startable)
                elif startable:
                    await self._message(startable[0])

    # One call, and what follows

    async def _message(self, row: Delivery) -> None:
        while True:
            row.started = time.monotonic()
            outcome = await self._call(row)
            decision = await self._settle(row, self._answers.get(row, outcome))
            if decision.action is not Action.AGAIN:
                return
            row.extra += 1

    async def _batch(self, rows: list[Delivery]) -> None:
        bundle = Bundle(Collected(rows, "size", 0.0), self._say, time.monotonic, ordered=self._fifo)
        bundle.started = time.monotonic()
        outcome = await self._call(bundle)
        answers = {answer.unit: answer.outcome for answer in bundle.answer(outcome)} | self._answers
        for row in rows:
            await self._settle(row, answers[row])

    async def _call(self, unit: Any) -> Outcome:
        handler, called = self._handler, self._called
        if handler.is_coroutine:
            outcome: Outcome = await called.run(self._say, unit)
            return outcome
        call = asyncio.get_running_loop().run_in_executor(self._threads, called.run_blocking, self._say, unit)
        await asyncio.wait([call], timeout=handler.timeout)
        if call.done():
            ended: Outcome = call.result()
            return ended
        assert handler.timeout is not None
        return Failed(HandlerTimeout(called.timed_out(handler.timeout, unit)))

    def _say(self, answer: Answer[Delivery]) -> bool:
        """Take what a handler says of its message while it runs. The first word counts, as everywhere."""
        row = answer.unit
        self._answers.setdefault(row, answer.outcome)
        if row.settlement is not None:
            row.settlement.resolve(Settled.ACKED if isinstance(answer.outcome, Done) else Settled.RELEASED)
        return True

    async def _settle(self, row: Delivery, outcome: Outcome) -> Decision:
        """Do what the outcome means, and tell subscribers and the log."""
        decision = decide(outcome, attempt=row.attempts, policy=self._policy, draw=random.random())  # noqa: S311
        if decision.action is Action.AGAIN and self._options.batch is not None:
            decision = replace(decision, action=Action.RELEASE)  # Lambda brings it again, with what stands behind it
        copied = decision.action is Action.COPY and await self._queue.copy(row, outcome, decision.counted)
        if copied or decision.action is Action.DELETE:
            self._done.add(row)
        elif decision.action is not Action.AGAIN:
            if decision.action is Action.KEEP:
                self._log.warning(
                    "queue %s: handler %s withheld message %s; in Lambda that keeps nothing, so it comes again",
                    self._name,
                    self._handler.name,
                    row.received.message_id,
                )
            self._halted.add(_group(row))
            if decision.after:
                await self._queue.hide(row, decision.after)
        if isinstance(outcome, Done):
            self._emit(HandlersEnded(self._name, 1))
        else:
            self._emit(HandlersEnded(self._name, 0, others=(self._conclusion(row, outcome, decision, copied=copied),)))
        return decision

    def _conclusion(self, row: Delivery, outcome: Outcome, decision: Decision, *, copied: bool) -> Conclusion:
        return Conclusion(
            row.received,
            row.handler or self._handler.name,
            outcome,
            decision.counted,
            attempt=row.attempt,
            after=None if copied or decision.action is Action.DELETE else decision.after,
            again=decision.action is Action.AGAIN,
            copied=copied,
        )


def _group(row: Delivery) -> str | None:
    return row.received.system.get("MessageGroupId")


def _in_context(handler: AnyHandler, queue: str) -> Any:
    """What is called: the handler, with its message in the context of log records if that is wanted."""
    if not MessageContext.in_use:
        return handler
    if isinstance(handler, BatchHandler):
        return BatchHandlerInContext(handler, queue)
    wrap = partial(HandlerInContext, queue=queue)
    return handler.around(wrap) if isinstance(handler, RoutedHandler) else wrap(handler)
