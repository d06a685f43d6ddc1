"""Which lane runs a handler: coroutines on the application's loop, threads or processes; a bundle lane with `batch`.

Used once by each runner, when it is made.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from leasekeeper.lanes.batch_handler import BatchHandler
from leasekeeper.lanes.bundles import BundleLane
from leasekeeper.lanes.coroutines import CoroutineLane
from leasekeeper.lanes.handler_context import BatchHandlerInContext, HandlerInContext
from leasekeeper.lanes.processes.lane import ProcessLane
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.lanes.threads import ThreadLane
from leasekeeper.message_context import MessageContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.keeper.entries import Entries
    from leasekeeper.lanes.api import Answer, Answers, Lane, UnitHandler
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.lanes.handler import Handler
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.lanes.mailbox import Mailbox
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
    engine = asyncio.get_running_loop()
    if isinstance(handler, BatchHandler):
        batches = _called_with_batches(handler, queue, entries)

        def inside(bundle_answers: Answers[Bundle]) -> Lane[Bundle]:
            if handler.is_coroutine:
                return CoroutineLane(batches, options, loop=application, answers=bundle_answers, clock=clock)
            return ThreadLane(batches, options, answers=bundle_answers, clock=clock, timer=engine)

        return BundleLane(
            options,
            queue=queue,
            parallel=options.concurrency if handler.is_coroutine else options.thread_count,
            answers=answers,
            clock=clock,
            open_inside=inside,
            copies=copies,
        )
    if handler.blueprint is not None:
        runs = None if entries is None else entries.runs
        return ProcessLane(handler, handler.blueprint, options, queue=queue, answers=answers, clock=clock, runs=runs)
    called = _called(handler, queue, entries)
    if handler.is_coroutine:
        return CoroutineLane(called, options, loop=application, answers=answers, clock=clock)
    return ThreadLane(called, options, answers=answers, clock=clock, timer=engine)


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
