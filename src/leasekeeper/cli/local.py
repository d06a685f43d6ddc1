"""`leasekeeper local`: SQS on this machine, in the foreground, with the queues and faults from the command line.

Owned by the command line. It promises to say how to reach the server, and a clean end on SIGTERM and SIGINT.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from leasekeeper.cli import local_wishes as flags  # noqa: TC001 - typer reads the annotations
from leasekeeper.cli.local_wishes import QueueWish, parse_fault
from leasekeeper.cli.words import counted
from leasekeeper.errors import ConfigurationError, Unusable
from leasekeeper.supervision.lifeline import Lifeline
from leasekeeper.supervision.protocol import LISTENER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.local import LocalServer


def local(
    *,
    host: flags.AddressFlag = "127.0.0.1",
    port: flags.PortFlag = 9324,
    queue: flags.QueueFlags = None,
    bucket: flags.BucketFlags = None,
    fault: flags.FaultFlags = None,
    dead_polls: flags.DeadPollsFlag = False,
    seed: flags.SeedFlag = None,
    anywhere: flags.AnywhereFlag = False,
    require_credentials: flags.RequireCredentialsFlag = False,
) -> None:
    """Run SQS on this machine until Ctrl-C, with standard and FIFO queues in memory.

    It works with boto3, the AWS CLI and every other SQS client. A small S3 for payloads is on the same port.
    """
    wishes = [QueueWish.parse(given) for given in queue or ()]
    faults = [parse_fault(given) for given in fault or ()]
    from leasekeeper.local import Broker, LocalServer
    from leasekeeper.local.running import loop_factory

    broker = Broker(seed=seed)
    for operation, switches in faults:
        broker.faults.check(operation, **switches)
    server = LocalServer(broker, host=host, port=port, anywhere=anywhere, require_credentials=require_credentials)
    _create_buckets(server, bucket or ())
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(server, f"{host}:{port}", wishes, faults, dead_polls=dead_polls))


async def _serve(
    server: LocalServer,
    address: str,
    wishes: Sequence[QueueWish],
    faults: Sequence[tuple[str, dict[str, Any]]],
    *,
    dead_polls: bool,
) -> None:
    stopping = asyncio.Event()
    lifeline = Lifeline.from_environment(os.environ)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, *([] if lifeline is None else [signal.SIGHUP])):
        # Beside consumers it outlives them, also when the signal is for all: their supervisor stops it when they have
        # drained.
        loop.add_signal_handler(number, stopping.set if lifeline is None else lambda: None)
    if lifeline is not None:
        lifeline.listen(lambda: loop.call_soon_threadsafe(stopping.set))
    from leasekeeper.local.running import collect_rarely

    try:
        await server.open(_inherited())
    except OSError as error:
        raise Unusable(f"cannot listen on {address}: {_why(error)}") from error
    try:
        for wish in wishes:
            await _create(server, wish)
        for operation, switches in faults:  # only now, so that no fault can prevent the queues
            server.broker.faults.set(operation, **switches)
        server.broker.faults.dead_polls = dead_polls
        collect_rarely()
        _greet(server, wishes, faults)
        await stopping.wait()
    finally:
        await server.close()
    calls = server.broker.calls
    if sys.stdout.isatty():
        print()  # below the ^C that the terminal shows
    print(f"stopped after {counted(calls.total(), 'call')}; the queues and their messages are gone")


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use. Give another --port, or 0 for a free one"
    why = error.strerror or str(error)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{why}. Give a --port above 1023, or 0 for a free one"
    # Without a number: asyncio of Python 3.13 says so of all addresses together.
    if error.errno in {errno.EADDRNOTAVAIL, None} or isinstance(error, socket.gaierror):
        return f"{why.rpartition(': ')[2]}. Give an address of this machine as --host"
    return why


def _inherited() -> socket.socket | None:
    """The socket that the supervisor of consumers listens on for this process; None when there is none."""
    descriptor = os.environ.pop(LISTENER, "")
    return socket.socket(fileno=int(descriptor)) if descriptor.isdigit() else None


def _create_buckets(server: LocalServer, names: Sequence[str]) -> None:
    from leasekeeper.local.s3 import S3Error

    for name in names:
        try:
            server.s3.create(name)
        except S3Error as error:
            raise ConfigurationError(f"--bucket={name!r}: {error.message}") from error


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
        given = "".join(f" {name}={value}" for name, value in attributes.items())
        raise ConfigurationError(f"--queue={wish.name!r}{given and f' with{given}'}: {refusal.message}") from refusal


async def _arn_of(server: LocalServer, wish: QueueWish) -> str:
    """Create the dead-letter queue, of the same kind, and return its ARN."""
    kind = {"FifoQueue": "true"} if wish.name.endswith(".fifo") else {}
    created = await server.broker.call("CreateQueue", {"QueueName": wish.dead_letters, "Attributes": kind})
    asked = {"QueueUrl": created["QueueUrl"], "AttributeNames": ["QueueArn"]}
    arn: str = (await server.broker.call("GetQueueAttributes", asked))["Attributes"]["QueueArn"]
    return arn


def _greet(server: LocalServer, wishes: Sequence[QueueWish], faults: Sequence[tuple[str, dict[str, Any]]]) -> None:
    url = shlex.quote(server.endpoint_url)  # the brackets of an IPv6 address mean something to a shell
    lines = [f"SQS runs in memory at {server.endpoint_url}. Ctrl-C stops it."]
    lines.append(f"  in the browser: {server.endpoint_url}/_leasekeeper/")
    for wish in wishes:
        limit = counted(wish.max_receives, "receive")
        dead = f", dead letters go to {wish.dead_letters} after {limit}" if wish.dead_letters else ""
        lines.append(f"  queue {wish.name}{dead}")
    lines += [f"  bucket {name}" for name in server.s3.buckets]
    for operation, switches in faults:
        shown = ", ".join(f"{name}={_number(value)}" for name, value in switches.items())
        lines.append(f"  fault in {'all calls' if operation == '*' else operation}: {shown}")
    name = wishes[0].name if wishes else "orders"
    command = "list-queues" if wishes else f"create-queue --queue-name {name}"
    # Version 1 of the AWS CLI ignores the variable in some regions, so its command names the endpoint.
    lines += [
        "",
        "In another terminal:",
        f"  export AWS_ENDPOINT_URL_SQS={url} AWS_DEFAULT_REGION=us-east-1",
        *([f"  export AWS_ENDPOINT_URL_S3={url}"] if server.s3.buckets else []),
        "  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local",
        f"  aws sqs {command} --endpoint-url {url}",
        f"  leasekeeper send {name} hello" + (" --group-id 1" if name.endswith(".fifo") else ""),
    ]
    print("\n".join(lines), flush=True)


def _number(value: float | tuple[float, float]) -> str:
    return "-".join(f"{bound:g}" for bound in value) if isinstance(value, tuple) else f"{value:g}"
