"""CPU time of sending: our sender beside a loop of boto3 with ten messages a call. `python benchmarks/sending.py`.

Each client is a process of its own, against a local SQS in another one; CPU time is that of the client's process,
without its start. The order of the clients changes from round to round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
from typing import Any

from leasekeeper.sending import Sender

CLIENTS = ("boto3", "post", "send")
FAKE = {"AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_DEFAULT_REGION": "eu-west-1"}
SERVER = """
import sys
from leasekeeper.local import LocalSqs
with LocalSqs() as sqs:
    print(sqs.endpoint_url, flush=True)
    sys.stdin.read()
"""


def cpu() -> float:
    """Seconds of CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def with_boto3(url: str, count: int) -> float:
    """A loop over `send_message_batch`."""
    import boto3

    client: Any = boto3.client("sqs", endpoint_url=url)
    queue = client.create_queue(QueueName="boto3")["QueueUrl"]
    began = cpu()
    for first in range(0, count, 10):
        entries = [{"Id": str(each), "MessageBody": f'{{"order":{first + each}}}'} for each in range(10)]
        answer = client.send_message_batch(QueueUrl=queue, Entries=entries)
        assert len(answer["Successful"]) == 10
    return cpu() - began


def with_post(url: str, count: int) -> float:
    """Posts from synchronous code, and one flush."""
    with Sender("post", endpoint_url=url) as sender:
        began = cpu()
        for number in range(count):
            sender.post({"order": number})
        sender.flush().result()
        assert sender.statistics().sent == count
        return cpu() - began


def with_send(url: str, count: int) -> float:
    """A hundred sends at a time, each waited for."""

    async def main() -> float:
        async with Sender("send", endpoint_url=url) as sender:
            began = cpu()
            for first in range(0, count, 100):
                await asyncio.gather(*(sender.send({"order": first + each}) for each in range(100)))
            return cpu() - began

    return asyncio.run(main())


def main() -> None:
    """Run all clients in turns, and print microseconds a message and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", choices=CLIENTS)
    parser.add_argument("--url")
    given = parser.parse_args()
    os.environ.update(FAKE)
    if given.client:
        used = {"boto3": with_boto3, "post": with_post, "send": with_send}[given.client](given.url, given.count)
        print(used / given.count * 1e6)
        return
    found: dict[str, list[float]] = {client: [] for client in CLIENTS}
    for turn in range(given.rounds):
        with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            url = server.stdout.readline().decode().strip()
            create(url)
            for client in CLIENTS[turn % 3 :] + CLIENTS[: turn % 3]:
                command = [sys.executable, __file__, "--client", client, "--url", url, "--count", str(given.count)]
                found[client].append(float(subprocess.run(command, capture_output=True, check=True).stdout))
            server.terminate()
    for client, figures in found.items():
        ratio = statistics.median(one / other for one, other in zip(figures, found["boto3"], strict=True))
        print(f"{client:6} {statistics.median(figures):7.1f} us of CPU a message, {ratio:.2f} of boto3")


def create(url: str) -> None:
    """Make the queues."""
    from leasekeeper.sqs.client import SqsClient
    from leasekeeper.sqs.settings import ClientSettings

    async def make() -> None:
        async with await SqsClient.connect(ClientSettings(endpoint_url=url)) as client:
            for name in CLIENTS:
                await client.create_queue(name)

    asyncio.run(make())


if __name__ == "__main__":
    main()
