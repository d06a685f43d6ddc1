"""CPU a call of SQS clients against the stub in another process: who costs what, in one interleaved run.

Run as `python benchmarks/wire/measure.py [--rounds 5] [--calls 8000] [--tls] [--only NAME ...]`. It promises user and
system time of the whole client process, library threads included; half the calls receive ten messages, half delete ten.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import trustme
import uvloop

from leasekeeper.api import Credentials, Response, TransportSettings
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.http import IDLE_EXPIRY
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
FLYING = 8
STUB = Path(__file__).with_name("stub.py")
KEYS = Credentials(access_key="AKIDEXAMPLE", secret_key="secret")
CASES = [
    f"{client}:{loop}"
    for client in (
        "native",
        "pyreqwest",
        "pyqwest",
        "aiohttp",
        "bare-native",
        "bare-pyreqwest",
        "bare-pyqwest",
        "bare-aiohttp",
    )
    for loop in ("uvloop", "asyncio")
] + ["boto3:threads"]


class PyqwestTransport:
    """pyqwest behind our seam; it lives here because it was measured and not chosen."""

    def __init__(self, connecting: TransportSettings) -> None:
        import pyqwest

        self._url = connecting.url
        self._fixed = dict(connecting.headers)
        self._transport = pyqwest.HTTPTransport(
            http_version=pyqwest.HTTPVersion.HTTP1,
            pool_idle_timeout=IDLE_EXPIRY,
            pool_max_idle_per_host=1000,
            enable_gzip=False,
            enable_brotli=False,
            enable_zstd=False,
            follow_redirects=False,
            use_system_dns=True,
            enable_otel=False,
            connect_timeout=connecting.connect_timeout,
        )
        self._client = pyqwest.Client(self._transport)

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109 - the seam's
        async with asyncio.timeout(timeout):  # it has no time-outs of its own a call
            answer = await self._client.post(self._url, {**self._fixed, **headers}, body)
        return Response(answer.status, answer.headers.get, answer.content)

    async def close(self) -> None:
        await self._transport.aclose()


async def _ours(http: Any, url: str, calls: int) -> float:
    settings = ClientSettings(endpoint_url=url, region="eu-west-1", credentials=KEYS, http=http)
    async with await SqsClient.connect(settings) as client:

        async def pair() -> None:
            messages = await client.receive(QUEUE, maximum=10, wait=0, visibility=30)
            failures = await client.delete_batch(QUEUE, [message.receipt for message in messages])
            assert len(failures) == 10
            assert not any(failures)

        return await _timed(pair, calls)


async def _bare(http: str, url: str, calls: int) -> float:
    """The library alone: the same bytes each way, with no signature, no JSON and no client around it."""
    connecting = TransportSettings(
        url=url, headers={"Content-Type": "application/x-amz-json-1.0"}, ca_bundle=os.environ.get("AWS_CA_BUNDLE")
    )
    transport = _transport(http)(connecting)
    receive = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "X-Amz-Date": "20261105T100000Z", "Authorization": "x" * 250}
    delete = {**receive, "X-Amz-Target": "AmazonSQS.DeleteMessageBatch"}

    async def pair() -> None:
        assert (await transport.post(b"x" * 230, receive, 25.0)).status == 200
        assert (await transport.post(b"x" * 4000, delete, 10.0)).status == 200

    spent = await _timed(pair, calls)
    await transport.close()
    return spent


async def _timed(pair: Callable[[], Awaitable[None]], calls: int) -> float:
    async def several(times: int) -> None:
        for _ in range(times):
            await pair()

    async with asyncio.TaskGroup() as group:
        for _ in range(FLYING):
            group.create_task(several(50))
    before = os.times()
    async with asyncio.TaskGroup() as group:
        for _ in range(FLYING):
            group.create_task(several(calls // FLYING // 2))
    after = os.times()
    return (after.user + after.system - before.user - before.system) / calls * 1e6


def _boto3(url: str, calls: int) -> float:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
        config=Config(max_pool_connections=FLYING),
    )

    def several(times: int) -> None:
        for _ in range(times):
            messages = client.receive_message(
                QueueUrl=QUEUE,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=0,
                VisibilityTimeout=30,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )["Messages"]
            entries = [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages)]
            client.delete_message_batch(QueueUrl=QUEUE, Entries=entries)

    calls //= 4
    with ThreadPoolExecutor(FLYING) as pool:
        list(pool.map(several, [20] * FLYING))
        before = os.times()
        list(pool.map(several, [calls // FLYING // 2] * FLYING))
        after = os.times()
    return (after.user + after.system - before.user - before.system) / calls * 1e6


def _transport(http: str) -> Any:
    if http == "pyqwest":
        return PyqwestTransport
    if http == "aiohttp":
        from leasekeeper.sqs.http_aiohttp import AiohttpTransport

        return AiohttpTransport
    if http == "native":
        from leasekeeper.sqs.http_native import NativeTransport

        return NativeTransport
    from http_pyreqwest import PyreqwestTransport

    return PyreqwestTransport


def one(case: str, url: str, calls: int) -> float:
    client, loop = case.split(":")
    if client == "boto3":
        return _boto3(url, calls)
    bare, http = client.startswith("bare-"), client.removeprefix("bare-")
    run = uvloop.run if loop == "uvloop" else asyncio.run
    return run(_bare(http, url, calls) if bare else _ours(_transport(http), url, calls))


@contextmanager
def stub(*, tls: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """A stub in a process of its own, until the block is left: its URL, and what clients need in their environment."""
    with ExitStack() as stack:
        arguments: list[str] = []
        environment = dict(os.environ)
        if tls:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            authority = trustme.CA()
            authority.cert_pem.write_to_path(folder / "ca.pem")
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
            arguments, environment["AWS_CA_BUNDLE"] = [str(folder / "server.pem")], str(folder / "ca.pem")
        process = subprocess.Popen([sys.executable, str(STUB), *arguments], stdout=subprocess.PIPE, text=True)
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdout is not None
        yield f"{'https' if tls else 'http'}://127.0.0.1:{process.stdout.readline().strip()}/", environment


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=8000)
    parser.add_argument("--tls", action="store_true", help="over TLS, under a certificate of our own")
    parser.add_argument("--only", nargs="*", default=CASES)
    parser.add_argument("--one", nargs=2, metavar=("CASE", "URL"))
    asked = parser.parse_args()
    if asked.one:
        case, url = asked.one
        print(one(case, url, asked.calls), flush=True)
        os._exit(0)  # some libraries abort now and then when the interpreter ends; that is not measured here
    spent: dict[str, list[float]] = {case: [] for case in asked.only}
    with stub(tls=asked.tls) as (url, environment):
        for _ in range(asked.rounds):
            for case, figures in spent.items():
                command = [sys.executable, __file__, "--calls", str(asked.calls), "--one", case, url]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
                figures.append(float(done.stdout))
    print(f"{'client':<24}{'median us a call':>18}{'least':>8}{'most':>8}{'us a message at 0.2 calls':>28}")
    for case, figures in spent.items():
        median = statistics.median(figures)
        print(f"{case:<24}{median:>18.0f}{min(figures):>8.0f}{max(figures):>8.0f}{median * 0.2:>28.1f}")


if __name__ == "__main__":
    main()
