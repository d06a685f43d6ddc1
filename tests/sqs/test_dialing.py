"""Names and addresses: what a transport does when one address is dead, the resolver is silent, or the program ends."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.api import TransportSettings
from leasekeeper.errors import SqsError
from leasekeeper.sqs import dialing
from leasekeeper.sqs.dialing import Dialer, first_connected
from leasekeeper.sqs.http_aiohttp import AiohttpTransport
from leasekeeper.sqs.http_native import NativeTransport

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSPORTS = pytest.mark.parametrize("make", [NativeTransport, AiohttpTransport])


def black_hole() -> tuple[socket.socket, list[socket.socket]]:
    """A port that answers no connection: its backlog is full. Keep what is returned."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = []
    for _ in range(4):
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(full.getsockname())
        waiting.append(each)
    return full, waiting


def resolving_to(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    """Let the name `two.test` have these addresses; a place has its own port, which no real resolver gives."""
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host == "two.test":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        return real(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@TRANSPORTS
@pytest.mark.parametrize("behind_a_proxy", [False, True])
@pytest.mark.slow
def test_a_second_address_is_tried_when_the_first_is_dead(
    one_kit: Any, monkeypatch: pytest.MonkeyPatch, make: Any, behind_a_proxy: bool
) -> None:
    dead, waiting = black_hole()

    async def story() -> float:
        async with one_kit.serve() as script:
            port = int(script.url.rpartition(":")[2])
            resolving_to(monkeypatch, dead.getsockname(), ("127.0.0.1", port))
            named = "http://two.test:1/"
            settings = (
                TransportSettings(url="http://sqs.invalid/", proxy=named, connect_timeout=60.0)
                if behind_a_proxy
                else TransportSettings(url=named, connect_timeout=60.0)
            )
            transport = make(settings)
            start = time.monotonic()
            answer = await transport.post(b"{}", {"X-Amz-Target": "AmazonSQS.Any"}, 60.0)
            await transport.close()
            assert answer.status == 200
            return time.monotonic() - start

    assert asyncio.run(story()) < 30  # half of the time in which a dead one may be given up
    for each in (dead, *waiting):
        each.close()


def test_an_address_that_refuses_costs_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(dialing, "STAGGER", 60.0)
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        place = server.sockets[0].getsockname()
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            sock = await first_connected([(socket.AF_INET, unused.getsockname()), (socket.AF_INET, place)])
        assert sock.getpeername() == place
        sock.close()
        server.close()

    asyncio.run(story())


def test_when_no_address_accepts_each_is_named() -> None:
    async def story() -> None:
        with socket.socket() as one, socket.socket() as two:
            for each in (one, two):
                each.bind(("127.0.0.1", 0))
            with pytest.raises(OSError, match="; ") as failed:
                await first_connected([(socket.AF_INET, each.getsockname()) for each in (one, two)])
            assert all(str(each.getsockname()[1]) in str(failed.value) for each in (one, two))

    asyncio.run(story())


@TRANSPORTS
def test_a_silent_resolver_costs_the_connect_timeout_and_one_thread(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[TransportSettings], Any]
) -> None:
    """L17. Calls at the same time, and later ones, wait for the same look-up."""
    gate = threading.Event()
    threads: list[threading.Thread] = []

    def silent(*_: Any, **__: Any) -> Any:
        threads.append(threading.current_thread())
        gate.wait(30)
        raise OSError("at last")

    monkeypatch.setattr(socket, "getaddrinfo", silent)

    async def story() -> list[Any]:
        transport = make(TransportSettings(url="http://sqs.test/", connect_timeout=0.05))
        calls = [transport.post(b"{}", {}, 5.0) for _ in range(3)]
        errors: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        await transport.close()
        return errors

    errors = asyncio.run(story())
    assert {each.code for each in errors} == {"NameNotResolved"}
    assert "no answer from the resolver in 0.05 s" in str(errors[0])
    assert len(threads) == 1
    assert threads[0].daemon
    gate.set()
    threads[0].join(60)


def test_a_caller_that_gives_up_does_not_cancel_the_look_up_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slow(host: str, port: int, **_: Any) -> Any:
        gate.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def story() -> list[Any]:
        dialer = Dialer("sqs.test", 5)
        hasty, patient = (asyncio.create_task(dialer.addresses()) for _ in range(2))
        await asyncio.sleep(0)
        hasty.cancel()
        await asyncio.sleep(0)
        gate.set()
        return await patient

    assert asyncio.run(story()) == [(socket.AF_INET, ("127.0.0.1", 5))]


def test_requests_are_sent_without_delay(one_kit: Any) -> None:
    """Nagle's algorithm would hold back the end of a request until the server acknowledges its beginning."""

    async def story() -> None:
        async with one_kit.serve() as script:
            transport = NativeTransport(TransportSettings(url=script.url))
            await transport.post(b"{}", {"X-Amz-Target": "AmazonSQS.Any"}, 5.0)
            (connection,) = transport._open
            assert connection._transport is not None
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await transport.close()

    asyncio.run(story())


def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        before = threading.active_count()
        assert await Dialer("127.0.0.1", 5).addresses() == [(socket.AF_INET, ("127.0.0.1", 5))]
        assert [place[:2] for _, place in await Dialer("::1", 5).addresses()] == [("::1", 5)]
        assert threading.active_count() == before

    asyncio.run(story())


AFTER_MAIN = """
    import asyncio, http.server, threading, sys
    from leasekeeper.api import Credentials
    from leasekeeper.sqs.client import SqsClient
    from leasekeeper.sqs.settings import ClientSettings

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        def log_message(self, *_): pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def provider():
        return Credentials(access_key="a", secret_key="b")

    async def story():
        url = f"http://localhost:{server.server_port}"
        how = dict(region="eu-west-1", credentials=provider, http=sys.argv[1], proxies={})
        async with await SqsClient.connect(ClientSettings(endpoint_url=url, **how)) as client:
            await client.delete(url + "/1/q", "r")
        print("deleted", flush=True)

    def later():
        main.join()
        asyncio.run(story())

    main = threading.main_thread()
    threading.Thread(target=later, daemon=False).start()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    (3, 12, 0) <= sys.version_info < (3, 12, 2),
    reason="this Python starts no thread after the main one's end (gh-113964)",
)
@pytest.mark.parametrize("http", ["native", "aiohttp"])
def test_calls_work_after_the_main_threads_end(http: str) -> None:
    """The loop's default executor refuses work then, so neither names nor credentials may need it."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AFTER_MAIN), http],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.returncode) == ("deleted\n", 0), ended.stderr


SILENT_EXIT = """
    import asyncio, socket, threading, sys
    from leasekeeper.api import TransportSettings
    from leasekeeper.sqs.http_native import NativeTransport

    socket.getaddrinfo = lambda *_, **__: threading.Event().wait()

    async def story():
        transport = NativeTransport(TransportSettings(url="http://sqs.test/", connect_timeout=0.05))
        try:
            await transport.post(b"{}", {}, 5.0)
        except Exception as error:
            print(error.code, flush=True)
        await transport.close()

    asyncio.run(story())
"""


@pytest.mark.slow
def test_a_silent_resolver_does_not_hold_up_the_exit() -> None:
    """L22."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SILENT_EXIT)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.stdout, ended.returncode) == ("NameNotResolved\n", 0), ended.stderr


def test_a_connection_refused_for_good_is_a_connect_error() -> None:
    async def story() -> str:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            transport = NativeTransport(TransportSettings(url=f"http://127.0.0.1:{unused.getsockname()[1]}/"))
            with pytest.raises(SqsError) as failed:
                await transport.post(b"{}", {}, 5.0)
            return failed.value.code

    assert asyncio.run(story()) == "ConnectError"
