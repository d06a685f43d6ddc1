"""What HTTP libraries do when things go wrong: one table, a row a mishap, a column a library.

Run as `python benchmarks/wire/robustness.py`; it takes about 30 seconds, most of it waiting for an idle connection to
be given up. It promises loopback only.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from http_pyreqwest import PyreqwestTransport

from leasekeeper.api import TransportSettings
from leasekeeper.errors import SqsError
from leasekeeper.sqs.http_aiohttp import AiohttpTransport
from leasekeeper.sqs.http_native import NativeTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LIBRARIES: dict[str, Any] = {
    "native": NativeTransport,
    "pyreqwest": PyreqwestTransport,
    "pyqwest": importlib.import_module("measure").PyqwestTransport,  # the script beside this one
    "aiohttp": AiohttpTransport,
}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Server(asyncio.Protocol):
    """Answers with what `script` holds next: bytes, or the name of a mishap."""

    script: list[bytes | str]
    requests = 0
    lost: asyncio.Event
    connections = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        Server.connections += 1

    def connection_lost(self, _: Exception | None) -> None:
        Server.lost.set()

    def data_received(self, data: bytes) -> None:
        if not data.endswith(b"{}"):
            return
        Server.requests += 1
        step = Server.script.pop(0) if Server.script else OK
        if isinstance(step, bytes):
            self.transport.write(step)
        elif step == "reset":
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        elif step == "close":
            self.transport.close()
        elif step != "hang":
            self.transport.write(step.encode())
            self.transport.close()


async def _first_error(library: Any, url: str) -> str:
    """The first failure of a process may import and build what later ones find ready."""
    transport = library(TransportSettings(url=url))
    Server.script = ["reset"]
    said = await _outcome(transport)
    await transport.close()
    return said


async def _outcome(transport: Any, timeout: float = 0.3) -> str:  # noqa: ASYNC109
    start = time.perf_counter()
    try:
        answer = await transport.post(b"{}", {"X-Amz-Target": "AmazonSQS.DeleteMessage"}, timeout)
    except SqsError as error:
        said = error.code
    except BaseException as error:
        said = type(error).__name__
    else:
        said = f"HTTP {answer.status}"
    return f"{said} in {(time.perf_counter() - start) * 1000:.0f} ms"


def _after_one_good_call(*steps: bytes | str) -> Callable[[Any, str], Awaitable[str]]:
    async def mishap(library: Any, url: str) -> str:
        transport = library(TransportSettings(url=url))
        Server.script = [OK, *steps]
        await _outcome(transport)
        Server.requests = 0
        said = await _outcome(transport)
        asked = Server.requests
        then = await _outcome(transport)
        await transport.close()
        return f"{said}, asked {asked}x; then {then.split(' in ')[0]}"

    return mishap


async def _cancel(library: Any, url: str) -> str:
    transport = library(TransportSettings(url=url))
    Server.script, Server.lost = ["hang"], asyncio.Event()
    call = asyncio.create_task(_outcome(transport, 20.0))
    await asyncio.sleep(0.2)
    start = time.perf_counter()
    call.cancel()
    await asyncio.wait({call}, timeout=2)
    returned = (time.perf_counter() - start) * 1000
    try:
        await asyncio.wait_for(Server.lost.wait(), 2)
        seen = f"server sees the close after {(time.perf_counter() - start) * 1000:.1f} ms"
    except TimeoutError:
        seen = "server sees no close in 2 s"
    await transport.close()
    return f"returned in {returned:.1f} ms; {seen}"


async def _idle(library: Any, url: str) -> str:
    transport = library(TransportSettings(url=url))
    Server.script = []
    await _outcome(transport)
    Server.lost = asyncio.Event()
    start = time.perf_counter()
    try:
        await asyncio.wait_for(Server.lost.wait(), 14)
        said = f"closed by the client after {time.perf_counter() - start:.1f} s"
    except TimeoutError:
        before = Server.connections
        await _outcome(transport)
        said = "kept open" + (", not used again" if Server.connections > before else ", used again")
    await transport.close()
    return said


async def _thousand(library: Any, url: str) -> str:
    transport = library(TransportSettings(url=url))
    Server.script = []
    start = time.perf_counter()
    said = await asyncio.gather(*[_outcome(transport, 10.0) for _ in range(1000)])
    good = sum(outcome.startswith("HTTP 200") for outcome in said)
    await transport.close()
    return f"{good} good in {time.perf_counter() - start:.2f} s"


async def _proxies(library: Any, url: str) -> str:
    os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = "http://127.0.0.1:1"
    try:
        Server.script = []
        transport = library(TransportSettings(url=url))
        said = await _outcome(transport)
        await transport.close()
    finally:
        del os.environ["HTTP_PROXY"], os.environ["http_proxy"]
    return "left alone" if said.startswith("HTTP 200") else f"used: {said}"


async def _threads(library: Any, url: str) -> str:
    """Eight loops in eight threads, each with a transport; then the library's own threads are counted."""
    Server.script = []

    async def calls() -> int:
        transport = library(TransportSettings(url=url))
        said = [await _outcome(transport, 5.0) for _ in range(100)]
        await transport.close()
        return sum(outcome.startswith("HTTP 200") for outcome in said)

    with ThreadPoolExecutor(8) as threads:
        running = asyncio.get_running_loop()
        good = await asyncio.gather(*[running.run_in_executor(threads, lambda: asyncio.run(calls())) for _ in range(8)])
    return f"{sum(good)} of 800 good"


def _threads_of_this_process() -> set[str]:
    return {task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}


async def _own_threads(library: Any, url: str) -> str:
    Server.script = ["hang"] * 3
    transport = library(TransportSettings(url=url))
    calls = [asyncio.create_task(_outcome(transport, 20.0)) for _ in range(3)]
    await asyncio.sleep(0.2)
    before = os.times()
    await asyncio.sleep(2)
    after = os.times()
    names = sorted(_threads_of_this_process())
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await transport.close()
    spent = (after.user + after.system - before.user - before.system) / 2 * 100
    return f"{spent:.1f}% of a core while 3 polls wait; threads {', '.join(names)}"


MISHAPS: dict[str, Callable[[Any, str], Awaitable[str]]] = {
    "first failure of all": _first_error,
    "reused connection reset": _after_one_good_call("reset"),
    "reused connection closed": _after_one_good_call("close"),
    "no answer (limit 0.3 s)": _after_one_good_call("hang"),
    "garbage": _after_one_good_call("\x16\x03 what is this\r\n\r\n"),
    "closed in mid-body": _after_one_good_call("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    "call cancelled": _cancel,
    "1000 calls at once": _thousand,
    "8 loops in 8 threads": _threads,
    "waiting": _own_threads,
    "HTTP_PROXY": _proxies,
    "idle connection": _idle,
}


async def _column(name: str) -> None:
    Server.lost = asyncio.Event()
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=2000)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    for mishap, act in MISHAPS.items():
        print(f"{name:<10} {mishap:<26} {await act(LIBRARIES[name], url)}", flush=True)
    server.close()


if __name__ == "__main__":
    for each in LIBRARIES:
        # A process of its own for each, so that threads counted are the library's.
        if os.fork() == 0:
            asyncio.run(_column(each))
            os._exit(0)
        os.wait()
