"""The desk of an admin surface: `peek`, `redrive` and `doctor` of the command line, without printing.

Given to the surface by `leasekeeper run`. It has a client for each question, on the loop of the surface; the engine of
the consumer takes no part.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from leasekeeper.admin.desk import Examined, Letter
from leasekeeper.cli.causes import DeadLetter
from leasekeeper.cli.connection import OpenQueue, unusable
from leasekeeper.cli.holding import Holding
from leasekeeper.cli.peek import HIDDEN, look
from leasekeeper.cli.redrive import other_queues
from leasekeeper.cli.redrive.dead_letter_queue import dead_letter_queue_of
from leasekeeper.cli.redrive_policy import number
from leasekeeper.cli.words import counted, listed
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import settings_for
from leasekeeper.sqs.urls import redacted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from leasekeeper.cli.redrive.dead_letter_queue import DeadLetterQueue
    from leasekeeper.consumer import Consumer
    from leasekeeper.message import Received

VISIBLE = "ApproximateNumberOfMessages"


class CommandLineDesk:
    """Looks at dead letters, moves them, and examines queues, as the commands do."""

    async def peek(self, consumer: Consumer, most: int) -> tuple[Sequence[Letter], str]:
        """As `Desk.peek`."""
        found: list[Received] = []
        async with _dead_letters(consumer) as dead:
            waiting = await _waiting(dead)
            holding = Holding(dead.queue.client, dead.queue.url, HIDDEN)
            try:
                await look(holding, most, found.append, waiting=waiting)
            finally:
                given_back = await holding.give_back()
        said = (
            f"{counted(holding.seen, 'message')} of {dead.name} received and {given_back:,} given back, hidden for at "
            f"most {holding.hidden:.1f} s; each look is a receive"
        )
        return [_letter(each) for each in found], said

    async def redrive(self, consumer: Consumer) -> str:
        """As `Desk.redrive`."""
        async with _dead_letters(consumer) as dead:
            target, waiting = dead.only_source, await _waiting(dead)
            if not waiting:
                return f"{dead.name} is empty: there is nothing to move"
            others = await other_queues(dead, target.name) if target is not None else sorted(dead.sources)
            if target is None or others:
                of = f" of {listed(others)}" if others else ""
                raise ConfigurationError(
                    f"nothing was moved: {dead.name} has messages{of}, and SQS would stop half-way at one that a "
                    f"consumer sent there. Send each to its own queue: leasekeeper redrive {dead.name} --copy"
                )
            client = dead.queue.client
            destination = (await client.queue_attributes(target.url, ["QueueArn"]))["QueueArn"]
            await client.start_message_move_task(dead.arn, destination_arn=destination)
            return f"SQS moves about {counted(waiting, 'message')} from {dead.name} to {target.name}"

    async def examine(self, consumer: Consumer) -> Sequence[Examined]:
        """As `Desk.examine`."""
        from leasekeeper.cli.doctor.examination import findings, patient_of

        _refuse_own_client(consumer)
        found = [each async for each in findings(patient_of(consumer))]
        return [
            Examined(level=each.level.value, topic=each.topic, message=redacted(each.message), commands=each.commands)
            for each in found
        ]


async def _waiting(dead: DeadLetterQueue) -> int:
    return number((await dead.queue.client.queue_attributes(dead.queue.url, [VISIBLE])).get(VISIBLE)) or 0


@asynccontextmanager
async def _dead_letters(consumer: Consumer) -> AsyncIterator[DeadLetterQueue]:
    """The dead-letter queue of a consumer, with a client of its own.

    Raises:
        ConfigurationError: it has none, or the consumer has a client of the user's.
        QueueUnusable: SQS refuses it.
    """
    _refuse_own_client(consumer)
    options, address = consumer.options, consumer.address
    async with await SqsClient.connect(settings_for(address, options)) as client:
        try:
            url = address.url or await client.queue_url(address.name, account=address.account)
            yield await dead_letter_queue_of(OpenQueue(client=client, address=address, url=url))
        except SqsError as error:
            raise unusable(address.name, error) from error


def _refuse_own_client(consumer: Consumer) -> None:
    if consumer.options.client is not None:
        raise ConfigurationError(f"queue {consumer.address.name}: its consumer has a client from the code (client=)")


def _letter(message: Received) -> Letter:
    letter = DeadLetter.of(message)
    return Letter(
        id=message.message_id,
        sent=letter.sent,
        receives=message.receive_count,
        cause=": ".join(filter(None, (letter.error, letter.text))) or letter.reason,
        body=message.body,
    )
