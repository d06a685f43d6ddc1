"""Which lane runs a handler: coroutines on the application's loop, threads or processes; a bundle lane with `batch`.

Used once by each runner, when it is made.
"""

from __future__ import annotations

import asyncio
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

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
    from leasekeeper.lanes.api import Answer, Answers, Lane, U, UnitHandler
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.lanes.handler import Handler
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.lanes.mailbox import Mailbox
    from leasekeeper.lanes.processes.tasks import Tasks
    from leasekeeper.options import Options


def open_lane(
    handler: AnyHandler,
    options: Options,
    *,
    queue: str,
    application: asyncio.AbstractEventLoop,
    answers: Mailbox[Answer[Delivery]],
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
    if isinstance(handler, BatchHandler):
        inside = partial(
            _open_inside, handler, options, queue=queue, application=application, clock=clock, entries=entries
        )
        in_threads = not handler.is_coroutine and handler.blueprint is None
        return BundleLane(
            options,
            queue=queue,
            parallel=attrgetter("thread_count" if in_threads else "concurrency"),
            answers=answers,
            clock=clock,
            open_inside=inside,
            copies=copies,
        )
    if handler.blueprint is not None:
        return _in_processes(
            handler, options, answers, MessageTasks(answers), queue=queue, clock=clock, entries=entries
        )
    called = _called(handler, queue, entries)
    if handler.is_coroutine:
        return CoroutineLane(called, options, loop=application, answers=answers, clock=clock)
    return ThreadLane(called, options, answers=answers, clock=clock, timer=asyncio.get_running_loop())


def _open_inside(
    handler: BatchHandler,
    options: Options,
    answers: Answers[Bundle],
    *,
    queue: str,
    application: asyncio.AbstractEventLoop,
    clock: Callable[[], float],
    entries: Entries | None,
) -> Lane[Bundle]:
    """The lane of batches, inside of the bundle lane."""
    if handler.blueprint is not None:
        tasks = BatchTasks(singly=options.on_batch_error == "singly")
        return _in_processes(handler, options, answers, tasks, queue=queue, clock=clock, entries=entries)
    called = _called_with_batches(handler, queue, entries)
    if handler.is_coroutine:
        return CoroutineLane(called, options, loop=application, answers=answers, clock=clock)
    return ThreadLane(called, options, answers=answers, clock=clock, timer=asyncio.get_running_loop())


def _in_processes(
    handler: Any,
    options: Options,
    answers: Answers[U],
    tasks: Tasks[U],
    *,
    queue: str,
    clock: Callable[[], float],
    entries: Entries | None,
) -> Lane[U]:
    runs = None if entries is None else entries.runs
    return ProcessLane(
        handler, handler.blueprint, options, queue=queue, answers=answers, clock=clock, tasks=tasks, runs=runs
    )


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
