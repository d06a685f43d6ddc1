"""A server that answers by script, and clients of it over either HTTP library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.api import Credentials
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

KEYS = Credentials(access_key="AKIDEXAMPLE", secret_key="secret")


@dataclass(frozen=True)
class Asked:
    """One request as it came: which connection brought it, what it asks for, its headers in lower case, its body."""

    connection: int
    target: str
    headers: dict[str, str]
    body: Any


@dataclass
class Script:
    """What the server does, one step a request: bytes are written, words are acts; afterwards it answers `{}`."""

    steps: list[bytes | str]
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: set[Any] = field(default_factory=set)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    def operations(self) -> list[str]:
        return [asked.headers["x-amz-target"].removeprefix("AmazonSQS.") for asked in self.asked]


class _Connection(asyncio.Protocol):
    def __init__(self, script: Script) -> None:
        self.script = script
        self.buffer = b""
        self.number = script.connections
        script.connections += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.script.open.add(transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.script.open.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
        headers = {name.lower(): value for name, value in lines}
        length = int(headers["content-length"])
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        body = json.loads(rest[:length])
        self.script.asked.append(Asked(self.number, head.split()[1].decode(), headers, body))
        self.script.came.set()
        self.act(self.script.steps.pop(0) if self.script.steps else answer({}))

    def drip(self, data: bytes) -> None:
        """Send the data as a slow network does: 10 bytes every 20 ms."""
        if data and not self.transport.is_closing():
            self.transport.write(data[:10])
            asyncio.get_running_loop().call_later(0.02, self.drip, data[10:])

    def act(self, step: bytes | str) -> None:
        if isinstance(step, bytes):
            self.transport.write(step)
            return
        match step:
            case "reset":
                self.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.transport.abort()
            case "close":
                self.transport.close()
            case "garbage":
                self.transport.write(b"\x16\x03\x01 what is this\r\n\r\n")
                self.transport.close()
            case "truncate":
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                self.transport.close()
            case "hang":
                pass
            case "steady":
                self.drip(answer({"Attributes": {"Policy": "x" * 400}}))
            case "endless":
                self.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"{" * 2_000)
            case "drip":
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
            case _:
                raise AssertionError(step)


def answer(body: object, status: int = 200, **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Any\r\n{named}Content-Length: {len(data)}\r\n\r\n".encode() + data


def refusal(code: str, shape: str, message: str, status: int = 400) -> bytes:
    body = {"__type": shape, "message": message}
    return answer(body, status, x_amzn_query_error=f"{code};Sender", x_amzn_RequestId="r-1")


@contextlib.asynccontextmanager
async def serve(*steps: bytes | str, tls: Any = None) -> AsyncIterator[Script]:
    script = Script(list(steps))
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(script), "localhost", 0, ssl=tls, family=socket.AF_INET
    )
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    script.url = f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
        for transport in script.open:
            transport.abort()
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Kit:
    """What a story needs; pytest hands it over, since test modules cannot import this file."""

    http: Any
    answer = staticmethod(answer)
    refusal = staticmethod(refusal)
    serve = staticmethod(serve)

    def play(
        self, story: Callable[[SqsClient, Script], Awaitable[None]], *steps: bytes | str, **settings: Any
    ) -> Script:
        """Run a story against a server of these steps; answers with what the server was asked."""

        async def whole() -> Script:
            async with serve(*steps) as script, await self.connect(script.url, **settings) as client:
                await story(client, script)
                return script

        return asyncio.run(whole())

    async def connect(self, url: str, **settings: Any) -> SqsClient:
        chosen = {"region": "eu-west-1", "credentials": KEYS, "http": self.http, "proxies": {}, **settings}
        return await SqsClient.connect(ClientSettings(endpoint_url=url, **chosen))


@pytest.fixture(params=["native", "aiohttp"])
def kit(request: pytest.FixtureRequest) -> Kit:
    """Once for each HTTP library."""
    return Kit(request.param)


@pytest.fixture
def one_kit() -> Kit:
    """For facts that the HTTP library has no part in."""
    return Kit("native")


@pytest.fixture
def bare_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """An environment without any AWS configuration; the path of a config file to write."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower() in {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path
