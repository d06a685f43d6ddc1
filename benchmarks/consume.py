"""What a message costs: CPU of the client process, API calls, messages a second, against the built-in server.

    python benchmarks/consume.py                # no-op handlers: the lanes and a bare boto3 loop, interleaved
    python benchmarks/consume.py --waiting      # 20 ms handlers at 10 ms a call, concurrency 100

The server runs in a process of its own. Each client is a process of its own too; its CPU (user and system) is taken
from after its start to after its stop, so that finding credentials is not counted and the last deletes are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

CLIENTS = ("penstock-async", "penstock-pool", "penstock-def", "boto3-loop")
QUEUE = "bench"
BODY = "x" * 500
FAKE = {"AWS_ACCESS_KEY_ID": "fake", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_DEFAULT_REGION": "eu-west-1"}


def cpu() -> float:
    """CPU seconds of this process so far, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# The clients: each handles `count` messages and says how long it took.


def penstock(kind: str, endpoint: str, count: int, handler_seconds: float, concurrency: int) -> dict[str, float]:
    from penstock import Consumer

    finished = threading.Event()
    left = [count]

    def note() -> None:
        left[0] -= 1
        if not left[0]:
            finished.set()

    async def waiting(_: str) -> None:
        if handler_seconds:
            await asyncio.sleep(handler_seconds)
        note()

    lock = threading.Lock()

    def blocking(_: str) -> None:
        if handler_seconds:
            time.sleep(handler_seconds)
        with lock:
            note()

    handler: Any = blocking if kind == "def" else waiting
    consumer = Consumer(
        QUEUE,
        handler,
        endpoint_url=endpoint,
        concurrency=concurrency,
        dispatch="pool" if kind == "pool" else "semaphore",
        threads=concurrency if kind == "def" and handler_seconds else None,
    )
    consumer.start()
    began, used = time.perf_counter(), cpu()
    finished.wait(timeout=300)
    seconds = time.perf_counter() - began
    report = consumer.stop().result()
    spent = cpu() - used
    return {"seconds": seconds, "cpu": spent, "handled": report.handled, "acked": report.acked}


def boto3_loop(endpoint: str, count: int) -> dict[str, float]:
    import boto3

    client = boto3.client("sqs", endpoint_url=endpoint)
    url = client.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    handled = 0
    began, used = time.perf_counter(), cpu()
    while handled < count:
        messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20).get("Messages", [])
        if messages:
            client.delete_message_batch(
                QueueUrl=url,
                Entries=[{"Id": str(i), "ReceiptHandle": each["ReceiptHandle"]} for i, each in enumerate(messages)],
            )
            handled += len(messages)
    return {"seconds": time.perf_counter() - began, "cpu": cpu() - used, "handled": handled, "acked": handled}


def run_client(name: str, endpoint: str, count: int, handler_seconds: float, concurrency: int) -> dict[str, float]:
    if name == "boto3-loop":
        return boto3_loop(endpoint, count)
    return penstock(name.removeprefix("penstock-"), endpoint, count, handler_seconds, concurrency)


# The harness


def ask(endpoint: str, method: str, page: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{endpoint}/_penstock/{page}", data=data, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def fill(endpoint: str, count: int) -> None:
    from penstock.sqs.api import Outgoing
    from penstock.sqs.client import SqsClient
    from penstock.sqs.settings import ClientSettings

    client = await SqsClient.connect(ClientSettings(endpoint_url=endpoint))
    try:
        await client.create_queue(QUEUE)
        url = await client.queue_url(QUEUE)
        await client.purge_queue(url)
        ten = [Outgoing(body=BODY)] * 10
        for _ in range(count // 10):
            await client.send_batch(url, ten)
    finally:
        await client.close()


def measure(name: str, options: argparse.Namespace, handler_seconds: float) -> dict[str, float]:
    server = subprocess.Popen(
        [sys.executable, "-m", "penstock.local", "--port", "0"], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the server did not say where it listens"
        endpoint = found[0]
        asyncio.run(fill(endpoint, options.messages))
        ask(endpoint, "DELETE", "calls")
        if options.waiting:
            ask(endpoint, "PUT", "faults", {"*": {"latency": 0.01}})
        command = [sys.executable, __file__, "--client", name, "--endpoint", endpoint]
        command += ["--messages", str(options.messages), "--handler-seconds", str(handler_seconds)]
        command += ["--concurrency", str(options.concurrency)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        calls = ask(endpoint, "GET", "calls")
        result["calls"] = sum(calls.get(each, 0) for each in calls if each not in {"GetQueueUrl", "GetQueueAttributes"})
        return result
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--waiting", action="store_true", help="20 ms handlers, 10 ms a call")
    parser.add_argument("--clients", nargs="*", default=None)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    parser.add_argument("--handler-seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.update(FAKE)
    if options.client:
        result = run_client(
            options.client, options.endpoint, options.messages, options.handler_seconds, options.concurrency
        )
        print(json.dumps(result))
        return
    handler_seconds = 0.02 if options.waiting else 0.0
    clients = options.clients or [each for each in CLIENTS if not (options.waiting and each == "boto3-loop")]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in clients}
    for _ in range(options.rounds):
        for name in clients:
            rounds[name].append(measure(name, options, handler_seconds))
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {Path(__file__).name}"
    )
    print(f"{options.messages} messages of {len(BODY)} bytes, {options.rounds} rounds; median (least - most)")
    print(f"{'client':<16}{'CPU us/message':>24}{'messages/s':>24}{'calls/message':>15}")
    for name, results in rounds.items():
        each = [result["cpu"] / options.messages * 1e6 for result in results]
        rate = [options.messages / result["seconds"] for result in results]
        calls = [result["calls"] / options.messages for result in results]
        print(
            f"{name:<16}{statistics.median(each):>10.1f} ({min(each):.1f} - {max(each):.1f})"
            f"{statistics.median(rate):>14.0f} ({min(rate):.0f} - {max(rate):.0f})"
            f"{statistics.median(calls):>12.3f}"
        )


if __name__ == "__main__":
    main()
