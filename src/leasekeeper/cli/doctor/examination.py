"""The examination of one queue: all checks, in the order in which a person would make them.

Used by the command and by the desk of an admin surface. What it tries, it tries with requests that SQS must refuse.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.cli.connection import Connection, OpenQueue, near_name, with_advice
from leasekeeper.cli.doctor import permissions
from leasekeeper.cli.doctor.checks import examine
from leasekeeper.cli.doctor.credentials import credentials
from leasekeeper.cli.doctor.facts import Facts, Finding, Level
from leasekeeper.cli.doctor.payloads import payloads
from leasekeeper.cli.doctor.stores import outboxes, store
from leasekeeper.cli.errors import in_flags
from leasekeeper.cli.redrive_policy import RedrivePolicy, account_in, name_in
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.urls import without_user_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from leasekeeper.consumer import Consumer
    from leasekeeper.options import Options
    from leasekeeper.outbox import Relay
    from leasekeeper.sending.senders import Senders


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A queue to check.

    Attributes:
        connection: how to reach it.
        handler_seconds: the longest time of its handler; None when unknown.
        options: the options of its consumer; None when only the queue is known.
        stop: seconds that its stop may take; None when only the queue is known.
        grace_period: seconds that the runtime waits before it kills the process; None when not given.
        senders: those of its handlers; of an app, with its first consumer.
        relays: those of outboxes; of an app, with its first consumer.
    """

    connection: Connection
    handler_seconds: float | None
    options: Options | None = None
    stop: float | None = None
    grace_period: float | None = None
    senders: Senders | None = None
    relays: Sequence[Relay] = ()


def patient_of(
    consumer: Consumer,
    given: Connection | None = None,
    handler_seconds: float | None = None,
    grace_period: float | None = None,
) -> Patient:
    """A consumer to examine, with what is given above its options."""
    given = given or Connection(queue=consumer.address.name)
    options, address = consumer.options, consumer.address
    connection = Connection(
        queue=address.url or address.name,
        endpoint_url=given.endpoint_url or options.endpoint_url,
        region=given.region or options.region or address.region,
        profile=given.profile or options.profile,
        credentials=options.credentials,
    )
    seconds = options.handler_timeout if handler_seconds is None else handler_seconds
    return Patient(
        connection=connection,
        handler_seconds=seconds,
        options=options,
        stop=consumer.longest_stop,
        grace_period=grace_period,
        senders=consumer.senders,
    )


async def findings(patient: Patient) -> AsyncIterator[Finding]:
    """Examine a queue, and say what was found as soon as it is known."""
    connection = patient.connection
    settings = connection.settings()
    address = settings.queue
    assert address is not None
    try:
        client = await SqsClient.connect(settings)
    except ConfigurationError as error:
        yield Finding(Level.FAIL, "connection", in_flags(str(error)))
        return
    async with client:
        yield await credentials(connection, loopback=client.endpoint.loopback)
        yield Finding(Level.OK, "endpoint", f"{client.endpoint.url}, region {client.endpoint.region}")
        began = time.monotonic()
        try:
            url = address.url or await client.queue_url(address.name, account=address.account)
            attributes = await client.queue_attributes(url)
        except SqsError as error:
            near = await near_name(client, address.name, error)
            yield Finding(Level.FAIL, "queue", f"{address.name}: {with_advice(error)}{near}")
            return
        yield Finding(Level.OK, "queue", f"{url}, answered in {(time.monotonic() - began) * 1000:.0f} ms")
        queue = OpenQueue(client=client, address=address, url=url)
        flags = _flags(connection, client)
        facts, dead_url = await _facts(queue, attributes, patient, flags=flags)
        for finding in await _permissions(queue, facts, dead_url):
            yield finding
        for name in () if patient.senders is None else patient.senders.queues:
            yield await permissions.check_sending(client, name, arn=facts.arn)
    for finding in [*await payloads(patient.options, connection), *await store(patient.options), *examine(facts)]:
        yield finding
    for finding in await outboxes(patient.relays):
        yield finding


def _flags(connection: Connection, client: SqsClient) -> tuple[str, ...]:
    """The flags that make another command find the same queue, with no password in them."""
    endpoint = connection.endpoint_url or client.endpoint.url.rstrip("/")
    own = ".amazonaws.com" in endpoint or ".api.aws" in endpoint  # the AWS CLI finds these by the region
    flags = ("--endpoint-url", without_user_info(endpoint)) if connection.endpoint_url or not own else ()
    profile = ("--profile", connection.profile) if connection.profile else ()
    return (*flags, "--region", client.endpoint.region, *profile)


async def _permissions(queue: OpenQueue, facts: Facts, dead_url: str | None) -> list[Finding]:
    """Whether the credentials allow what a consumer with these options does; unknown options count as default ones."""
    client, options = queue.client, facts.options
    trials = await permissions.try_settling(client, queue.url, queue=queue.name, arn=facts.arn)
    if options is not None and options.dead_letter_queue is not None:
        other = QueueAddress.parse(options.dead_letter_queue)
        try:
            url = other.url or await client.queue_url(other.name, account=other.account)
        except SqsError as error:
            message = f"dead_letter_queue={options.dead_letter_queue!r}: {with_advice(error)}"
            return [Finding(Level.FAIL, "permissions", message)]
        arn = facts.arn.rpartition(":")[0] + ":" + other.name
        trials.append(await permissions.try_sending(client, url, queue=other.name, arn=arn))
    elif dead_url is not None and facts.policy is not None and (options is None or options.on_reject == "dead-letter"):
        policy = facts.policy
        trials.append(await permissions.try_sending(client, dead_url, queue=policy.name, arn=policy.target))
    used = ["sqs:GetQueueAttributes"] if queue.address.url else ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"]
    return permissions.findings(trials, used=used)


async def _facts(
    queue: OpenQueue, attributes: dict[str, str], patient: Patient, *, flags: tuple[str, ...]
) -> tuple[Facts, str | None]:
    """What is known of the queue, and the URL of its dead-letter queue."""
    client = queue.client
    sources = await _dead_letter_sources(client, queue.url)
    dead_url, dead, problem = None, None, None
    others: tuple[str, ...] = ()
    policy = RedrivePolicy.read(attributes)
    if policy is not None:
        try:
            dead_url = await client.queue_url(policy.name, account=account_in(policy.target))
            dead = await client.queue_attributes(dead_url)
            others = await _dead_letter_sources(client, dead_url)
        except SqsError as error:
            problem = str(error)
    facts = Facts(
        address=queue.address,
        url=without_user_info(queue.url),
        attributes=attributes,
        sources=sources,
        dead_letters=dead,
        dead_letters_problem=problem,
        dead_letters_of=others,
        handler_seconds=patient.handler_seconds,
        options=patient.options,
        stop=patient.stop,
        grace_period=patient.grace_period,
        flags=flags,
    )
    return facts, dead_url


async def _dead_letter_sources(client: SqsClient, url: str) -> tuple[str, ...]:
    """The names of the queues with this dead-letter queue; none when that may not be read, which is common."""
    try:
        return tuple(sorted(map(name_in, await client.list_dead_letter_sources(url))))
    except SqsError:
        return ()
