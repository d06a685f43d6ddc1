"""Scheduling: messages of a sender that are sent later, by SQS itself up to 900 seconds, else by EventBridge Scheduler.

Owned by a sender, used on its loop. It promises that a message is never early, and that a call which is made again
makes no second schedule.
"""

from __future__ import annotations

import math
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from leasekeeper.api import Outgoing
from leasekeeper.errors import ConfigurationError
from leasekeeper.futures import running_future
from leasekeeper.sending.outgoing import LONGEST_DELAY
from leasekeeper.sending.schedules import Scheduled
from leasekeeper.sqs.services import SCHEDULER

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from leasekeeper.api import Sent
    from leasekeeper.sending.outgoing import TargetQueue
    from leasekeeper.sending.scheduler_client import SchedulerClient
    from leasekeeper.sending.schedules import Schedules
    from leasekeeper.sqs.settings import ClientSettings

LONGEST_INPUT = 262_144
"""Bytes that a schedule can send (Scheduler user guide, quotas)."""
ACTION = "scheduler:::aws-sdk:sqs:sendMessage"
"""The universal target: unlike the one for SQS, it sends attributes and a deduplication id."""


NEAREST = timedelta(seconds=15)
"""From now to the nearest schedule: the scheduler refuses a time that is past when the call arrives."""
KEYWORD = b"<aws.scheduler."
"""Begins the words in an input that the scheduler replaces."""


class PlannedSend(NamedTuple):
    """How a message gets sent later."""

    at: datetime
    by_sqs: bool
    """Whether SQS delays it by itself."""
    delay: int | None
    """Seconds that SQS delays it."""


class Scheduling:
    """The schedules of one sender.

    Args:
        schedules: what the user gave; None: only what SQS delays by itself.
        connection: how the sender reaches SQS.
    """

    def __init__(self, schedules: Schedules | None, connection: ClientSettings) -> None:
        self._schedules = schedules
        self._connection = connection
        self._client: SchedulerClient | None = None

    def needs(self, target: TargetQueue) -> Schedules:
        """What schedules for that queue need.

        Raises:
            ConfigurationError: the sender has none.
        """
        if self._schedules is None:
            raise ConfigurationError(
                f"queue {target.name}: SQS delays a message by 900 seconds at most, and on a FIFO queue not at all: to "
                "send later, give the sender schedules=Schedules(role=...), or use an outbox"
            )
        return self._schedules

    def plan(self, target: TargetQueue, at: datetime, name: str | None) -> PlannedSend:
        """How a message gets there.

        Raises:
            ConfigurationError: `at` has no time zone, or SQS cannot delay it and there are no schedules.
        """
        if at.tzinfo is None:
            raise ConfigurationError(
                f"at={at!r}: it has no time zone: give datetime.now(UTC) + timedelta(...), for example"
            )
        at = at.astimezone(UTC)
        delay = max(0, math.ceil((at - datetime.now(UTC)).total_seconds()))
        by_sqs = name is None and delay <= (0 if target.fifo else LONGEST_DELAY)
        if not by_sqs:
            self.needs(target)
        return PlannedSend(at, by_sqs, delay or None if by_sqs else None)

    async def schedule(self, target: TargetQueue, outgoing: Outgoing, at: datetime, name: str | None) -> Scheduled:
        """Create the schedule of a message."""
        schedules = self.needs(target)
        at = full_minute(at, datetime.now(UTC))
        full = schedule_name(target.name, name)
        created = await (await self._connected(schedules)).create(
            full, request_of(schedules, target, outgoing, at=at, token=sha256(full.encode()).hexdigest())
        )
        return Scheduled(name=full, at=at, created=created)

    async def unschedule(self, target: TargetQueue, name: str) -> bool:
        """Delete a schedule."""
        schedules = self.needs(target)
        client = await self._connected(schedules)
        return await client.delete(schedules.group, schedule_name(target.name, name))

    async def _connected(self, schedules: Schedules) -> SchedulerClient:
        if self._client is None:
            from leasekeeper.sending.scheduler_client import SchedulerClient

            given = {
                each: getattr(schedules, each)
                for each in ("region", "profile", "credentials")
                if getattr(schedules, each) is not None
            }
            queue = self._connection.queue
            if queue is not None:  # it gives the region, and no endpoint: that is of SQS
                queue = replace(queue, endpoint=None)
            settings = replace(
                self._connection, service=SCHEDULER, endpoint_url=schedules.endpoint_url, queue=queue, **given
            )
            self._client = await SchedulerClient.connect(settings)
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()


def scheduled_answer(at: datetime) -> tuple[Callable[[Sent | Exception], object], Future[Scheduled]]:
    """What takes the answer about a message that SQS delays, and the answer of `Sender.schedule`."""
    answered: Future[Scheduled] = running_future()

    def tell(found: Sent | Exception) -> None:
        if isinstance(found, Exception):
            answered.set_exception(found)
        else:
            answered.set_result(Scheduled(name="", at=at, created=True))

    return tell, answered


def full_minute(at: datetime, now: datetime) -> datetime:
    """That time, rounded up to a full minute that is still to come."""
    at = max(at, now + NEAREST)
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1 if at.second or at.microsecond else 0)


def schedule_name(queue: str, name: str | None) -> str:
    """The name of a schedule: new without a name, else always the same, and different for each queue."""
    if name is None:
        return f"leasekeeper-{uuid.uuid4().hex}"
    readable = re.sub(r"[^0-9A-Za-z_.-]", "-", name)[:30]
    return f"{readable}-{sha256(f'{queue} {name}'.encode()).hexdigest()[:32]}"


def request_of(
    schedules: Schedules, target: TargetQueue, outgoing: Outgoing, *, at: datetime, token: str
) -> dict[str, Any]:
    """The body of CreateSchedule.

    Raises:
        ConfigurationError: a schedule cannot send the message.
    """
    if type(outgoing) is not Outgoing:  # it points to a payload, which is not in S3 yet, and may not stay there so long
        raise ConfigurationError(f"queue {target.name}: a payload in S3 cannot be scheduled: use an outbox")
    message: dict[str, Any] = {"QueueUrl": target.url, "MessageBody": outgoing.body}
    if outgoing.attributes:
        message["MessageAttributes"] = {
            name: {"DataType": each.data_type, "StringValue": _text(target, name, each.value)}
            for name, each in outgoing.attributes.items()
        }
    if outgoing.group_id is not None:
        message["MessageGroupId"] = outgoing.group_id
    if outgoing.deduplication_id is not None:
        message["MessageDeduplicationId"] = outgoing.deduplication_id
    # Written as an escape of JSON, a keyword in the body stays as it is: this SQS gets the message that was given.
    given = msgspec.json.encode(message).replace(KEYWORD, rb"\u003c" + KEYWORD[1:])
    if len(given) > LONGEST_INPUT:
        raise ConfigurationError(
            f"queue {target.name}: the message has {len(given):,} bytes in its schedule, and a schedule takes at most "
            f"{LONGEST_INPUT:,}: use an outbox, or store the body elsewhere and send a reference"
        )
    partition = schedules.role.split(":")[1]
    request = {
        "GroupName": schedules.group,
        "ClientToken": token,
        "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {"Arn": f"arn:{partition}:{ACTION}", "RoleArn": schedules.role, "Input": given.decode()},
    }
    return request if schedules.kms_key is None else {**request, "KmsKeyArn": schedules.kms_key}


def _text(target: TargetQueue, name: str, value: str | bytes) -> str:
    if isinstance(value, bytes):
        raise ConfigurationError(
            f"queue {target.name}: attribute {name} is of bytes, and schedules send text: encode it in base64"
        )
    return value
