"""Which lane runs a handler: coroutines on the application's loop, threads or processes; a bundle lane with `batch`.

Used once by each runner, when it is made.
"""

from __future__ import annotations

import asyncio
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from leasekeeper.lanes.batch_handler import BatchHandler
from leasekeeper.lanes.bundles import BundleLane
from leasekeeper.lanes.coroutines import CoroutineLane
from leasekeeper.lanes.handler_context import BatchHandlerInContext, HandlerInContext
from leasekeeper.lanes.processes.lane import ProcessLane
from leasekeeper.lanes.processes.tasks import BatchTasks, MessageTasks
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.lanes.threads import ThreadLane
from leasekeeper.message_context import MessageContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.keeper.entries import Entries
    from leasekeeper.lanes.api import Answers, Lane, U, UnitHandler
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.lanes.handler import Handler
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.lanes.processes.tasks import Tasks
    from leasekeeper.options import Options


def open_lane(
    handler: AnyHandler,
    options: Options,
    *,
    queue: str,
    application: asyncio.AbstractEventLoop,
    answers: Answers[Delivery],
    clock: Callable[[], float],
    entries: Entries | None = None,
    copies: bool = True,
) -> Lane[Delivery]:
    """The lane for this handler; called on the engine's loop.

    Args:
        handler: what the lane calls.
        options: how many handlers run at once, and how.
        queue: the queue's name, for log records of handlers.
        application: the loop of coroutine handlers.
        answers: where the lane puts its answers.
        clock: seconds, monotonic.
        entries: where the keeper hears of messages that start; None: there is no keeper.
        copies: whether rejected messages are copied to a dead-letter queue.
    """
    place = _Place(options, queue, application, clock, entries)
    if not isinstance(handler, BatchHandler):
        return _open(handler, _called(handler, queue, entries), MessageTasks(answers), place, answers)
    tasks = BatchTasks(singly=options.on_batch_error == "singly")
    in_threads = not handler.is_coroutine and handler.blueprint is None
    return BundleLane(
        options,
        queue=queue,
        parallel=attrgetter("thread_count" if in_threads else "concurrency"),
        answers=answers,
        clock=clock,
        open_inside=partial(_open, handler, _called_with_batches(handler, queue, entries), tasks, place),
        copies=copies,
    )


class _Place(NamedTuple):
    """Where a handler runs: as the arguments of `open_lane`."""

    options: Options
    queue: str
    application: asyncio.AbstractEventLoop
    clock: Callable[[], float]
    entries: Entries | None


def _open(handler: AnyHandler, called: UnitHandler[U], tasks: Tasks[U], place: _Place, answers: Answers[U]) -> Lane[U]:
    """The lane of units, be they messages or batches: in worker processes, on the application's loop, or in threads.

    Args:
        handler: as its user has given it; a worker process makes it again.
        called: the same with what has to be around it in this process.
        tasks: makes what worker processes run.
        place: where it runs.
        answers: where the lane puts its answers.
    """
    options, queue, application, clock, entries = place
    if handler.blueprint is not None:
        runs = None if entries is None else entries.runs
        whole: Any = handler
        return ProcessLane(
            whole, handler.blueprint, options, queue=queue, answers=answers, clock=clock, tasks=tasks, runs=runs
        )
    if handler.is_coroutine:
        return CoroutineLane(called, options, loop=application, answers=answers, clock=clock)
    return ThreadLane(called, options, answers=answers, clock=clock, timer=asyncio.get_running_loop())


def _called(handler: Handler | RoutedHandler, queue: str, entries: Entries | None) -> UnitHandler[Delivery]:
    """The handler with what has to be around it."""
    called: UnitHandler[Delivery] = handler
    if MessageContext.in_use:
        wrap = partial(HandlerInContext, queue=queue)
        called = handler.around(wrap) if isinstance(handler, RoutedHandler) else wrap(handler)
    if entries is None:
        return called
    from leasekeeper.keeper.handling import KeptHandler

    return KeptHandler(called, entries)


def _called_with_batches(handler: BatchHandler, queue: str, entries: Entries | None) -> UnitHandler[Bundle]:
    """The handler of batches with what has to be around it."""
    called: UnitHandler[Bundle] = BatchHandlerInContext(handler, queue) if MessageContext.in_use else handler
    if entries is None:
        return called
    from leasekeeper.keeper.handling import KeptBatchHandler

    return KeptBatchHandler(called, entries)
