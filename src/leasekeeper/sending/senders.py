"""Senders of handlers: a parameter annotated with `Annotated[Sender, "shipped"]` gets a sender of that queue.

Owned by an app, or by a consumer without one. It promises that senders are open before the first receive and until the
last ack, and that what a handler sent or posted is confirmed by SQS before the message of that handler is deleted.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args, get_origin

from leasekeeper.engine.host import LINGER
from leasekeeper.errors import Unsent
from leasekeeper.loggers import safe_logger
from leasekeeper.running import Completion
from leasekeeper.sending.schedules import Schedules
from leasekeeper.sending.sender import Sender

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Iterator, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from leasekeeper.injection import Get, GetLater
    from leasekeeper.options import Options
    from leasekeeper.payloads.settings import S3Payloads

log = safe_logger("leasekeeper.send")


FLUSH = 10.0
"""Seconds that a sender gets at the end: nearly all is confirmed already, with the messages of its handlers."""


class Senders:
    """An injector of senders, one for each queue that is named."""

    def __init__(self) -> None:
        self._queues: dict[str, Schedules | None] = {}
        self._open: dict[str, Sender] = {}
        self._users = 0

    def gives(self, parameter: inspect.Parameter) -> bool:
        """Whether it is annotated with `Annotated[Sender, "queue"]`."""
        queue = queue_of(parameter)
        if queue is not None:
            self._queues[queue] = schedules_of(parameter) or self._queues.get(queue)
        return queue is not None

    @contextmanager
    def scope(self, message: Any, /) -> Iterator[Get]:  # noqa: ARG002 - the injectors'
        """The senders of one run of a `def` handler; at its end what was posted is waited for."""
        runs: dict[str, Sender] = {}
        yield lambda parameter: self._for_run(runs, parameter)
        for queue, posted in _posts(runs):  # what was sent here is confirmed: `send` has waited
            _raise_unsent(queue, [each.exception() for each in posted if not isinstance(each, Completion)])

    @asynccontextmanager
    async def scope_async(self, message: Any, /) -> AsyncIterator[GetLater]:  # noqa: ARG002 - the injectors'
        """The senders of one run of an `async def` handler; at its end what was posted is waited for."""
        runs: dict[str, Sender] = {}

        async def get(parameter: inspect.Parameter) -> Sender:
            return self._for_run(runs, parameter)

        yield get
        for queue, posted in _posts(runs):
            waited = [each if isinstance(each, Completion) else asyncio.wrap_future(each) for each in posted]
            found = await asyncio.gather(*waited, return_exceptions=True)
            _raise_unsent(queue, [each for each in found if isinstance(each, BaseException)])

    def override(self, kind: Any, value: Any) -> AbstractContextManager[object]:  # noqa: ARG002 - the injectors'
        """Nothing here depends on other values."""
        return nullcontext()

    def _for_run(self, runs: dict[str, Sender], parameter: inspect.Parameter) -> Sender:
        queue = queue_of(parameter)
        assert queue is not None
        if queue not in runs:
            runs[queue] = self._open[queue].for_run()
        return runs[queue]

    async def enter(self, options: Options) -> None:
        """Open the senders for a consumer that starts; to be followed by `leave`.

        Raises:
            QueueUnusable: a queue does not exist, cannot be reached, or we may not use it.
        """
        self._users += 1
        for queue, schedules in self._queues.items():
            if queue not in self._open:
                sender = self._open[queue] = Sender(
                    queue,
                    region=options.region,
                    endpoint_url=options.endpoint_url,
                    profile=options.profile,
                    credentials=options.credentials,
                    payloads=cast("S3Payloads | None", options.payloads),
                    schedules=schedules,
                    flush_timeout=FLUSH,
                )
                sender.begin()
            await asyncio.wrap_future(self._open[queue].begin())

    async def leave(self) -> None:
        """Close them, if no other consumer of the app uses them. What they could not send is logged."""
        self._users -= 1
        if self._users:
            return
        senders, self._open = self._open, {}
        for sender in senders.values():
            try:
                await asyncio.wrap_future(sender.finish())
            except Exception as error:
                log.error("queue %s: %s", sender.address.name, error)  # noqa: TRY400 - the sentence says it all

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that handlers send to, as the code names them."""
        return tuple(self._queues)

    @property
    def schedules(self) -> tuple[Schedules, ...]:
        """How handlers have messages sent later."""
        return tuple(each for each in self._queues.values() if each is not None)

    @property
    def longest_stop(self) -> float:
        """Seconds that `leave` may take."""
        return FLUSH + 2 * LINGER if self._queues else 0.0

    def __repr__(self) -> str:
        return f"<Senders {', '.join(self._queues) or 'none'}>"


def queue_of(parameter: inspect.Parameter) -> str | None:
    """The queue of the sender that a parameter asks for; None if it asks for none."""
    annotation = parameter.annotation
    if get_origin(annotation) is not Annotated:
        return None
    kind, *further = get_args(annotation)
    named = [each for each in further if isinstance(each, str)]
    return named[0] if kind is Sender and named else None


def schedules_of(parameter: inspect.Parameter) -> Schedules | None:
    """The `Schedules` in the annotation of a sender."""
    return next((each for each in get_args(parameter.annotation)[1:] if isinstance(each, Schedules)), None)


def _posts(runs: dict[str, Sender]) -> Iterator[tuple[str, list[Future[Any] | Completion[Any]]]]:
    """What was posted, and what was sent without a wait for it: the handler may have forgotten the `await`.

    What a task of the handler still waits for is not confirmed either.
    """
    for queue, sender in runs.items():
        posted = [each for each in sender.posted or () if not _is_known(each)]
        if posted:
            yield queue, posted


def _is_known(sent: Future[Any] | Completion[Any]) -> bool:
    """Whether the handler has the answer already."""
    return isinstance(sent, Completion) and sent.asked and sent.done()


def _raise_unsent(queue: str, errors: Sequence[BaseException | None]) -> None:
    failed = [error for error in errors if isinstance(error, Exception)]
    if failed:
        what = "a message of the handler was" if len(failed) == 1 else f"{len(failed)} messages of the handler were"
        raise Unsent(f"{what} not sent to {queue}, so its own message is tried again; the first: {failed[0]}", [])
