"""`leasekeeper local`: SQS on this machine, in the foreground, with the queues and faults asked for.

Owned by the command line. It promises to say how to reach it, and a clean end on TERM and INT.
"""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leasekeeper.cli.errors import Exit, Stopped, say
from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.local import LocalServer

ATTRIBUTES = {
    "visibility": "VisibilityTimeout",
    "delay": "DelaySeconds",
    "wait": "ReceiveMessageWaitTimeSeconds",
    "retention": "MessageRetentionPeriod",
}
"""Short words for a queue's attributes; the full names of SQS are understood as well."""
MAX_RECEIVES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueWish:
    """A queue to be created, as `--queue` says it.

    Attributes:
        name: ending in `.fifo`, a FIFO queue.
        attributes: by SQS's names.
        dead_letters: the name of its dead-letter queue, created before it; None for none.
        max_receives: receives after which SQS moves a message there.
    """

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    dead_letters: str | None = None
    max_receives: int = MAX_RECEIVES

    @classmethod
    def parse(cls, said: str) -> QueueWish:
        """Read `orders` or `orders:dlq=orders-dead,max=5,visibility=30`.

        Raises:
            ConfigurationError: it cannot be read so.
        """
        name, _, rest = said.partition(":")
        attributes, wish = {"FifoQueue": "true"} if name.endswith(".fifo") else {}, dict[str, str]()
        for each in filter(None, rest.split(",")):
            key, equals, value = each.partition("=")
            if not (equals and value) or not (key in {"dlq", "max"} or key in ATTRIBUTES or key[:1].isupper()):
                raise ConfigurationError(
                    f"--queue {said!r}: {each!r} is not understood; say dlq=NAME, max=RECEIVES, "
                    f"{', '.join(f'{word}=SECONDS' for word in ATTRIBUTES)}, or an attribute of SQS, e.g. "
                    "orders:dlq=orders-dead,max=5,visibility=60"
                )
            (wish if key in {"dlq", "max"} else attributes)[ATTRIBUTES.get(key, key)] = value
        maximum = wish.get("max", str(MAX_RECEIVES))
        if not maximum.isdigit() or ("max" in wish and "dlq" not in wish):
            raise ConfigurationError(
                f"--queue {said!r}: max={maximum} must be a whole number, given together with dlq="
            )
        return cls(name=name, attributes=attributes, dead_letters=wish.get("dlq"), max_receives=int(maximum))


def parse_fault(said: str) -> tuple[str, dict[str, Any]]:
    """Read `throttle=0.1,latency=0.02` or `ReceiveMessage:empty=0.5`: the operation, `*` for all, and its switches."""
    operation, colon, rest = said.rpartition(":")
    switches: dict[str, Any] = {}
    for each in rest.split(","):
        name, _, value = each.partition("=")
        try:
            low, dash, high = value.partition("-")
            switches[name.strip().replace("-", "_")] = (float(low), float(high)) if dash else float(low)
        except ValueError:
            raise ConfigurationError(
                f"--fault {said!r}: {each!r} is not NAME=NUMBER; e.g. throttle=0.1 or ReceiveMessage:latency=0.01-0.05"
            ) from None
    return (operation if colon else "*"), switches


def local(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 9324,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:KEY=VALUE,...]",
            help="Create a queue; again for more. Keys: dlq (name of its dead-letter queue, created too), max "
            "(receives before a message goes there), visibility, delay, wait, retention (seconds), or any of SQS's.",
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[OPERATION:]NAME=NUMBER,...",
            help="Let things go wrong: latency (seconds, or LOW-HIGH) and, as probabilities, throttle, unavailable, "
            "deny, reset, garbage, hang, lose, lose_by_reset, fail_entries, duplicate, shorten, empty.",
        ),
    ] = None,
    dead_polls: Annotated[
        bool, typer.Option("--dead-polls", help="Long polls whose client went away take messages that nobody sees.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of message ids and faults; new at each start by default.")] = None,
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="Allow a host that other machines can reach; nobody is kept out.")
    ] = False,
    require_credentials: Annotated[
        bool, typer.Option("--require-credentials", help="Refuse requests without credentials; any will do.")
    ] = False,
) -> None:
    """Run SQS on this machine until Ctrl-C: standard and FIFO queues in memory, for boto3, the AWS CLI and others."""
    wishes = [QueueWish.parse(each) for each in queue or ()]
    faults = [parse_fault(each) for each in fault or ()]
    from leasekeeper.local import Broker, LocalServer
    from leasekeeper.local.running import loop_factory

    broker = Broker(seed=seed)
    for operation, switches in faults:
        broker.faults.check(operation, **switches)
    server = LocalServer(broker, host=host, port=port, anywhere=anywhere, require_credentials=require_credentials)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(server, wishes, faults, dead_polls=dead_polls))
    except OSError as error:
        say(f"cannot listen on {host}:{port} ({error.strerror or error}); another --port? 0 takes a free one")
        raise Stopped(Exit.FAILED) from error


async def _serve(
    server: LocalServer, wishes: Sequence[QueueWish], faults: Sequence[tuple[str, dict[str, Any]]], *, dead_polls: bool
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.open()
    try:
        for wish in wishes:
            await _create(server, wish)
        for operation, switches in faults:  # now, not before: the queues asked for are there whatever goes wrong
            server.broker.faults.set(operation, **switches)
        server.broker.faults.dead_polls = dead_polls
        _greet(server, wishes, faults)
        await stopping.wait()
    finally:
        await server.close()
    calls = server.broker.calls
    print(f"stopped after {calls.total():,} calls; the queues and their messages are gone")


async def _create(server: LocalServer, wish: QueueWish) -> None:
    from leasekeeper.local import Refusal

    attributes = dict(wish.attributes)
    try:
        if wish.dead_letters is not None:
            arn = await _arn_of(server, wish)
            policy = {"deadLetterTargetArn": arn, "maxReceiveCount": wish.max_receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        await server.broker.call("CreateQueue", {"QueueName": wish.name, "Attributes": attributes})
    except Refusal as refusal:
        raise ConfigurationError(f"--queue {wish.name}: {refusal.message}") from refusal


async def _arn_of(server: LocalServer, wish: QueueWish) -> str:
    """Create the dead-letter queue, of the same kind; its ARN."""
    kind = {"FifoQueue": "true"} if wish.name.endswith(".fifo") else {}
    created = await server.broker.call("CreateQueue", {"QueueName": wish.dead_letters, "Attributes": kind})
    asked = {"QueueUrl": created["QueueUrl"], "AttributeNames": ["QueueArn"]}
    arn: str = (await server.broker.call("GetQueueAttributes", asked))["Attributes"]["QueueArn"]
    return arn


def _greet(server: LocalServer, wishes: Sequence[QueueWish], faults: Sequence[tuple[str, dict[str, Any]]]) -> None:
    lines = [f"SQS is listening on {server.endpoint_url}, in memory, until Ctrl-C."]
    for wish in wishes:
        dead = f", dead letters to {wish.dead_letters} after {wish.max_receives} receives" if wish.dead_letters else ""
        lines.append(f"  queue {wish.name}{dead}")
    for operation, switches in faults:
        said = ", ".join(f"{name}={value}" for name, value in switches.items())
        lines.append(f"  fault {'all calls' if operation == '*' else operation}: {said}")
    # The AWS CLI, version 1, has an endpoint of its own for SQS in some regions and passes the variable by.
    name = wishes[0].name if wishes else "orders"
    lines += [
        "",
        "Point anything at it:",
        f"  export AWS_ENDPOINT_URL_SQS={server.endpoint_url} AWS_DEFAULT_REGION=us-east-1",
        "  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local",
        f"  aws sqs create-queue --queue-name {name} --endpoint-url {server.endpoint_url}",
        f"  leasekeeper send {name} hello",
    ]
    print("\n".join(lines), flush=True)
