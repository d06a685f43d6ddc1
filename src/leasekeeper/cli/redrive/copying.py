"""Dead letters sent to another queue one by one: what SQS's own task cannot do, because it neither chooses nor changes.

Owned by `leasekeeper redrive`. It promises to delete a message only after its copy was confirmed. Whatever ends it, a
killed process too, at most sends some messages twice and loses none, and a second run continues.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from leasekeeper.api import BATCH, MAX_BYTES, MOST_ATTRIBUTES, EntryFailure, Outgoing
from leasekeeper.cli.causes import Causes, DeadLetter
from leasekeeper.cli.holding import Holding
from leasekeeper.cli.redrive.filters import Filters
from leasekeeper.cli.redrive_policy import number
from leasekeeper.cli.send import within_size
from leasekeeper.engine.calls import RETRYABLE
from leasekeeper.errors import SqsError
from leasekeeper.failure import FAILURE, REDRIVEN
from leasekeeper.message import MessageAttribute
from leasekeeper.sizes import size_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from leasekeeper.api import Sent, SqsApi
    from leasekeeper.message import Received

HIDDEN = 60
"""Seconds for which a message stays hidden after a receive, when the process is killed."""
WORKERS = 4
"""Receives, each with its sends and deletes, at the same time. A FIFO queue keeps its order: what one receive holds of
a group keeps SQS from giving others of it to the next."""
MOST_HELD = 100_000
"""Messages that are held because they are not meant: SQS hides at most 120,000 of a queue (AWS SQS quotas)."""
PAUSES = (0.2, 0.4, 0.8, 1.6)
"""Seconds before the second try of a call that SQS may do the next time, before the third, and so on."""


class Destination(NamedTuple):
    """A queue that messages are sent to."""

    name: str
    url: str


class Routes(Protocol):
    """Where dead letters go."""

    async def target_of(self, letter: DeadLetter) -> Destination | None:
        """The queue that a dead letter goes to; None when it is not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlan:
    """What to send, and how.

    Attributes:
        filters: which messages.
        limit: the most messages that are sent; None: all.
        rate: the most messages a second; None: as many as possible.
        dry_run: send nothing, only look.
    """

    filters: Filters = field(default_factory=Filters)
    limit: int | None = None
    rate: int | None = None
    dry_run: bool = False


class _Copy(NamedTuple):
    """A message, and what is sent."""

    message: Received
    target: Destination
    outgoing: Outgoing


class Copying:
    """Sends the dead letters that are meant to their queues, and deletes them.

    Args:
        client: the client of all queues.
        url: of the dead-letter queue.
        routes: where each goes.
        plan: which, how many and how fast.

    Attributes:
        progress: called after each receive and each delete.
        holding: what was received; those that are not meant are held until the end.
        moved: how many were sent and confirmed, by the name of the queue; of a dry run, how many would be.
        causes: the groups of what was chosen in a dry run.
        strays: ids of messages that were meant but have no known queue, with the name that they say.
        refused: ids of messages that SQS did not take, with the reason.
        returned: ids of messages that failed again and came back while this ran; they stay.
        not_deleted: how many were sent and could not be deleted.
        behind: how many stand behind others of their message group, so that SQS does not show them.
        failure: what ended it early; None when nothing did.
    """

    def __init__(self, client: SqsApi, url: str, routes: Routes, plan: CopyPlan) -> None:
        self._client = client
        self._url = url
        self._routes = routes
        self._plan = plan
        self.progress: Callable[[], object] = _nothing
        self._left = plan.limit
        self._next = 0.0
        self._stopping = asyncio.Event()
        self._blocked: set[str] = set()
        self._sent: set[int] = set()
        self.holding = Holding(client, url, HIDDEN)
        self.moved: Counter[str] = Counter()
        self.causes = Causes()
        self.strays: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.returned: set[str] = set()
        self.not_deleted = 0
        self.behind = 0
        self.failure: SqsError | None = None

    def stop(self) -> None:
        """End after the batches that are being sent."""
        self._stopping.set()

    async def run(self) -> None:
        """Go through the queue once; give back what stays in it."""
        try:
            while True:
                before = self.moved.total()
                ends = await asyncio.gather(*(self._work() for _ in range(self._workers())), return_exceptions=True)
                for end in ends:
                    if end is not None:
                        raise end
                if self._ended() or not self.holding.fifo:
                    break
                # SQS shows ten messages of a group and no more until they are gone or given back.
                self.behind = await self._visible()
                if not self.behind or self._plan.dry_run or self.moved.total() == before:
                    break
                await self.holding.give_back()
        finally:
            await self.holding.give_back()

    def _workers(self) -> int:
        """No more than there is work for: what is received and not sent has spent a receive, or waits for the rate."""
        plan = self._plan
        at_once = WORKERS * BATCH if plan.limit is None else plan.limit
        if plan.rate is not None and plan.rate < WORKERS * BATCH:
            at_once = BATCH
        return min(WORKERS, (at_once + BATCH - 1) // BATCH)

    def _ended(self) -> bool:
        return self._stopping.is_set() or self._left == 0 or len(self.holding) >= MOST_HELD

    async def _visible(self) -> int:
        try:
            attributes = await self._client.queue_attributes(self._url, ["ApproximateNumberOfMessages"])
        except SqsError:
            return 0  # often denied; then what stands behind others stays for another run
        return number(attributes.get("ApproximateNumberOfMessages")) or 0

    async def _work(self) -> None:
        try:
            while not self._ended():
                await self.holding.keep()
                messages = await self._receive()
                self.progress()
                if messages is None:
                    return
                for batch in await self._batches(messages):
                    await self._pace(len(batch))
                    if self._stopping.is_set():
                        return
                    await self._move(batch)
        except SqsError as error:
            self.failure = self.failure or error
            self.stop()

    async def _receive(self) -> list[Received] | None:
        """Receive, and try again a few times after an error that may pass."""
        wanted = BATCH if self._plan.filters or self._left is None else min(BATCH, max(1, self._left))
        for pause in PAUSES:
            try:
                return await self.holding.receive(wanted)
            except SqsError as error:
                if error.verdict not in RETRYABLE:
                    raise
            await asyncio.sleep(pause)
        return await self.holding.receive(wanted)

    async def _batches(self, messages: Sequence[Received]) -> list[list[_Copy]]:
        """What to send of these, in batches that one call can carry and the rate allows."""
        chosen: dict[Destination, list[_Copy]] = {}
        for message in messages:
            letter = DeadLetter.of(message)
            if (
                self._left == 0
                or not self._plan.filters.match(message, letter)
                or not self._blocked.isdisjoint(self._group(message))
            ):
                continue
            if _look_of(message.body, message.attributes) in self._sent:
                self.returned.add(message.message_id)  # else it would be sent again for as long as it fails
                continue
            target = await self._routes.target_of(letter)
            if target is None:
                self.strays[message.message_id] = letter.queue
                continue
            if self._left is not None:
                self._left -= 1
            if self._plan.dry_run:
                self.causes.add(message)
                self.moved[target.name] += 1
            else:
                chosen.setdefault(target, []).append(_Copy(message, target, copy_of(message, fifo=self.holding.fifo)))
        most = min(BATCH, self._plan.rate or BATCH)
        return [
            batch
            for copies in chosen.values()
            for batch in within_size(copies, lambda copy: size_of(copy.outgoing.body, copy.outgoing.attributes), most)
        ]

    def _group(self, message: Received) -> tuple[str, ...]:
        """The group that keeps its order; none on a standard queue."""
        return (message.system.get("MessageGroupId", ""),) if self.holding.fifo else ()

    async def _move(self, batch: list[_Copy]) -> None:
        url = batch[0].target.url
        answers = await self._tried(
            batch, lambda copies: self._client.send_batch(url, [copy.outgoing for copy in copies])
        )
        sent = []
        for copy, answer in zip(batch, answers, strict=True):
            if isinstance(answer, EntryFailure):
                self.refused[copy.message.message_id] = f"{answer.code}: {answer.message}"
                self._blocked.update(self._group(copy.message))  # what follows in its group has to stay too
                self._left = None if self._left is None else self._left + 1
            else:
                sent.append(copy)
        self._sent.update(_look_of(copy.outgoing.body, copy.outgoing.attributes) for copy in sent)
        if sent:
            self.moved[sent[0].target.name] += len(sent)
            await self._delete(sent)
        self.progress()

    async def _delete(self, sent: list[_Copy]) -> None:
        try:
            answers = await self._tried(
                sent,
                lambda copies: self._client.delete_batch(
                    self._url, [self.holding.receipt(copy.message) for copy in copies]
                ),
            )
        except SqsError:
            self.not_deleted += len(sent)
            raise
        for copy, answer in zip(sent, answers, strict=True):
            if answer is None:
                self.holding.forget(copy.message)
            else:
                self.not_deleted += 1

    async def _tried(
        self, copies: list[_Copy], call: Callable[[list[_Copy]], Awaitable[Sequence[Sent | EntryFailure | None]]]
    ) -> list[Sent | EntryFailure | None]:
        """The answers to a call; entries that SQS may do the next time are tried again, a few times.

        Raises:
            SqsError: the last call failed as a whole.
        """
        answers: dict[int, Sent | EntryFailure | None] = {}
        open_ = list(range(len(copies)))
        for pause in (*PAUSES, None):
            try:
                answers.update(zip(open_, await call([copies[at] for at in open_]), strict=True))
            except SqsError as error:
                if pause is None or error.verdict not in RETRYABLE:
                    raise
            open_ = [at for at in open_ if at not in answers or _again(answers[at])]
            if not open_ or pause is None:
                break
            await asyncio.sleep(pause)
            await self.holding.keep()
        return [answers[at] for at in range(len(copies))]

    async def _pace(self, count: int) -> None:
        """Wait until the rate allows that many more, or until a stop."""
        if self._plan.rate is None:
            return
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next)
        self._next = begin + count / self._plan.rate
        with suppress(TimeoutError):
            async with asyncio.timeout_at(begin):
                await self._stopping.wait()


def _look_of(body: str, attributes: Mapping[str, MessageAttribute]) -> int:
    """What a message still is when it comes back: its body and attributes, with the number of redrives among them."""
    return hash((body, frozenset((name, value) for name, value in attributes.items() if name != FAILURE)))


def _nothing() -> None:
    pass


def _again(answer: Sent | EntryFailure | None) -> bool:
    return isinstance(answer, EntryFailure) and answer.verdict in RETRYABLE


def copy_of(message: Received, *, fifo: bool) -> Outgoing:
    """What is sent of a dead letter: as it was, without its failure, and with the number of times it was sent back."""
    times = 1 + (number(message.attributes[REDRIVEN].value) or 0 if REDRIVEN in message.attributes else 0)
    attributes = {name: value for name, value in message.attributes.items() if name not in {FAILURE, REDRIVEN}}
    trace = message.system.get("AWSTraceHeader")
    outgoing = Outgoing(
        body=message.body,
        attributes=attributes,
        system={"AWSTraceHeader": trace} if trace else {},
        group_id=message.system.get("MessageGroupId"),
        # Its old id would be swallowed for five minutes. This one is new for each stay in the dead-letter queue, and
        # the same for a second try: a copy that is sent twice within five minutes arrives once.
        deduplication_id=f"redriven-{message.message_id}"[:128] if fifo else None,
    )
    attributes[REDRIVEN] = MessageAttribute(data_type="Number", string_value=str(times))
    if len(attributes) > MOST_ATTRIBUTES or size_of(outgoing.body, outgoing.attributes) > MAX_BYTES:
        del attributes[REDRIVEN]
    return outgoing
