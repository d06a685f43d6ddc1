"""`leasekeeper doctor`: is a queue fit to be consumed, and are we fit to consume it; each line says what to change.

Owned by the command line. It promises to change nothing and to receive nothing: what it tries, it tries with a
receipt that cannot exist.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper.cli.checks import Facts, Finding, Level, examine
from leasekeeper.cli.connection import Connection, EndpointOption, ProfileOption, QueueArgument, RegionOption
from leasekeeper.cli.errors import Exit, Stopped
from leasekeeper.engine.opening import ADVICE
from leasekeeper.errors import ConfigurationError, SqsError, Verdict
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.credentials import in_thread
from leasekeeper.sqs.endpoint import new_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
NO_RECEIPT = "leasekeeper-doctor-asks-whether-this-is-allowed"
METHODS = {
    "env": "the environment",
    "shared-credentials-file": "~/.aws/credentials",
    "config-file": "~/.aws/config",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a web identity",
    "sso": "SSO",
    "login": "aws login",
    "custom-process": "credential_process",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}


def doctor(
    queue: QueueArgument,
    *,
    handler_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="How long your handler takes at most.")
    ] = None,
    endpoint_url: EndpointOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Check credentials, endpoint, permissions and the queue's attributes, and say what to change.

    Nothing is received or changed. Exit code 1 when something fails.
    """
    connection = Connection(queue=queue, endpoint_url=endpoint_url, region=region, profile=profile)
    raise Stopped(asyncio.run(_doctor(connection, handler_seconds)))


async def _doctor(connection: Connection, handler_seconds: float | None) -> Exit:
    worst = dict.fromkeys(Level, 0)
    async for finding in _findings(connection, handler_seconds):
        _show(finding)
        worst[finding.level] += 1
    fails, warnings = worst[Level.FAIL], worst[Level.WARN]
    print(f"\n{fails} to repair, {warnings} to consider, {worst[Level.OK]} in order")
    return Exit.FAILED if fails else Exit.CLEAN


async def _findings(connection: Connection, handler_seconds: float | None) -> AsyncIterator[Finding]:
    settings = connection.settings()
    address = settings.queue
    assert address is not None
    try:
        client = await SqsClient.connect(settings)
    except ConfigurationError as error:
        yield Finding(Level.FAIL, "connection", str(error))
        return
    async with client:
        yield await _credentials(connection, loopback=client.endpoint.loopback)
        yield Finding(Level.OK, "endpoint", f"{client.endpoint.url}, region {client.endpoint.region}")
        began = time.monotonic()
        try:
            url = address.url or await client.queue_url(address.name, account=address.account)
            attributes = await client.queue_attributes(url)
        except SqsError as error:
            yield refused("queue", error)
            return
        yield Finding(Level.OK, "queue", f"{url}, reached in {(time.monotonic() - began) * 1000:.0f} ms")
        yield await _permissions(client, url)
        facts = await _facts(
            client,
            address,
            url,
            attributes,
            handler_seconds=handler_seconds,
            endpoint_url=connection.endpoint_url or _elsewhere(client.endpoint.url),
        )
    for finding in examine(facts):
        yield finding


def _elsewhere(url: str) -> str | None:
    """The URL when it is no endpoint of AWS's own, which the AWS CLI finds by itself."""
    return None if ".amazonaws.com" in url or ".api.aws" in url else url.rstrip("/")


def refused(what: str, error: SqsError) -> Finding:
    """What SQS refuses, with what to do."""
    advice = ADVICE.get(error.verdict)
    return Finding(Level.FAIL, what, str(error).rstrip(".") + (f"; {advice}" if advice else ""))


async def _credentials(connection: Connection, *, loopback: bool) -> Finding:
    """Where the credentials come from; the client has found some, or there is a server that takes any."""

    def look() -> Any:
        session = new_session(connection.settings())
        if loopback:
            session.get_component("credential_provider").remove("iam-role")
        return session.get_credentials()

    found = await in_thread(look)
    if found is None:
        return Finding(Level.OK, "credentials", "none, and none needed: this server is on this machine")
    key = found.get_frozen_credentials().access_key
    method = METHODS.get(found.method, found.method)
    return Finding(Level.OK, "credentials", f"from {method}, access key {key[:4]}...{key[-4:] if len(key) > 8 else ''}")


async def _permissions(client: SqsClient, url: str) -> Finding:
    """Whether settling is allowed, tried with a receipt that cannot exist; receiving would have side effects."""
    denied = []
    for action, attempt in (
        ("sqs:DeleteMessage", client.delete_batch(url, [NO_RECEIPT])),
        ("sqs:ChangeMessageVisibility", client.change_visibility_batch(url, [(NO_RECEIPT, 0)])),
    ):
        try:
            (answer,) = await attempt
            verdict = answer.verdict if answer is not None else None
        except SqsError as error:
            verdict = error.verdict
        if verdict is Verdict.DENIED:
            denied.append(action)
    if denied:
        return Finding(Level.FAIL, "permissions", f"{' and '.join(denied)} denied: allow them to these credentials")
    return Finding(
        Level.OK,
        "permissions",
        "sqs:GetQueueUrl, GetQueueAttributes, DeleteMessage and ChangeMessageVisibility are allowed; ReceiveMessage "
        "was not tried, because that counts as a receive",
    )


async def _facts(
    client: SqsClient,
    address: QueueAddress,
    url: str,
    attributes: dict[str, str],
    *,
    handler_seconds: float | None,
    endpoint_url: str | None,
) -> Facts:
    try:
        sources = await client.list_dead_letter_sources(url)
    except SqsError:
        sources = []  # often denied; it only tells whether this is a dead-letter queue
    dead, problem = None, None
    target = json.loads(attributes.get("RedrivePolicy") or "{}").get("deadLetterTargetArn")
    if target:
        try:
            there = QueueAddress.parse(target)
            dead = await client.queue_attributes(await client.queue_url(there.name, account=there.account))
        except SqsError as error:
            problem = str(error)
    return Facts(
        address=address,
        url=url,
        attributes=attributes,
        sources=tuple(QueueAddress.parse(each).name for each in sources),
        dead_letters=dead,
        dead_letters_problem=problem,
        handler_seconds=handler_seconds,
        endpoint_url=endpoint_url,
    )


def _show(finding: Finding) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(width=4)
    line.add_column(width=14)
    line.add_column()
    line.add_row(
        Text(finding.level.value, style=COLOURS[finding.level]), Text(finding.what, style="bold"), finding.said
    )
    console.print(line)
    for command in finding.fixes:
        # Whole on one line, so that it can be copied.
        console.print(
            Padding(Text(command, style="cyan"), (0, 0, 0, 6)) if console.is_terminal else f"      {command}",
            soft_wrap=True,
        )
