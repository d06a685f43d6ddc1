"""Worker processes beside threads: throughput of handlers that compute, and CPU time of handlers that do nothing.

`python benchmarks/worker_processes.py`. The local SQS is another process. The lanes are run in turns. CPU time is
that of the engine's process; that of workers is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from leasekeeper import Consumer, Sender

SERVER = """
import sys, asyncio
from leasekeeper.local import LocalSqs
with LocalSqs() as sqs:
    print(sqs.endpoint_url, flush=True)
    sys.stdin.read()
"""
WHERE: dict[str, Any] = {"region": "us-east-1"}


def spin(body: str) -> None:
    """Compute for so many milliseconds of CPU time."""
    end = time.thread_time() + float(body) / 1000
    while time.thread_time() < end:
        pass


def cpu() -> float:
    """Seconds of CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def create(url: str) -> None:
    """Make the queue."""
    from leasekeeper.sqs.client import SqsClient
    from leasekeeper.sqs.settings import ClientSettings

    async with await SqsClient.connect(ClientSettings(endpoint_url=url, **WHERE)) as client:
        await client.create_queue("spin")


def play(url: str, lane: dict[str, Any], count: int, body: str) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process, from the first message to the last."""
    done = 0
    with Sender("spin", endpoint_url=url, **WHERE) as sender:
        for _ in range(count):
            sender.post(body)
    consumer = Consumer("spin", spin, endpoint_url=url, **WHERE, **lane)
    consumer.start()
    began, used = time.monotonic(), cpu()
    while done < count:
        time.sleep(0.01)
        now = consumer.statistics()
        done = 0 if now is None else now.work.done
    found = time.monotonic() - began, cpu() - used
    consumer.stop()
    return found


def main() -> None:
    """Run both lanes in turns, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    threads, processes = {"concurrency": 2}, {"lane": "processes", "workers": 2}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        asyncio.run(create(url))
        faster, dearer = [], []
        for _ in range(given.rounds):
            slow, quick = play(url, threads, 300, "20"), play(url, processes, 300, "20")
            faster.append(slow[0] / quick[0])
            cheap, dear = play(url, threads, 5000, "0"), play(url, processes, 5000, "0")
            dearer.append(dear[1] / cheap[1])
            print(
                f"20 ms: threads {300 / slow[0]:.0f}/s, processes {300 / quick[0]:.0f}/s; engine's CPU a message: "
                f"{cheap[1] / 5000 * 1e6:.0f} us and {dear[1] / 5000 * 1e6:.0f} us"
            )
        print(f"processes are {statistics.median(faster):.2f} times as fast with handlers of 20 ms")
        print(f"with handlers that do nothing the engine takes {statistics.median(dearer):.2f} times the CPU")
        server.terminate()


if __name__ == "__main__":
    main()
