"""What the transport of our own does beyond the suite it shares with libraries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leasekeeper.api import TransportSettings
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.chunks import Chunks
from leasekeeper.sqs.http_native import NativeTransport


class Peer(asyncio.Protocol):
    """A server that answers each request with the next of its pieces, written one by one in turns of the loop."""

    def __init__(self, answers: list[list[bytes]], *, close: bool = False) -> None:
        self.answers = answers
        self.close = close
        self.requests: list[bytes] = []
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.requests.append(data)
        self._write(self.answers.pop(0))

    def _write(self, pieces: list[bytes]) -> None:
        if pieces:
            self.transport.write(pieces[0])
            asyncio.get_running_loop().call_later(0.001, self._write, pieces[1:])
        else:
            self.answered.set()
            if self.close:
                self.transport.close()


def posted(*answers: list[bytes], close: bool = False, **connecting: Any) -> tuple[list[Any], Peer]:
    """What comes of a post for each of the answers, and the peer."""

    async def story() -> tuple[list[Any], Peer]:
        peer = Peer(list(answers), close=close)
        server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = NativeTransport(TransportSettings(url=f"http://127.0.0.1:{port}/", **connecting))
        got: list[Any] = []
        for _ in answers:
            try:
                got.append(await transport.post(b"{}", {"X-Test": "1"}, 5.0))
            except SqsError as error:
                got.append(error)
        await transport.close()
        server.close()
        return got, peer

    return asyncio.run(story())


def bodies(got: list[Any]) -> list[bytes]:
    return [each.body for each in got]


def test_an_answer_may_come_in_any_pieces() -> None:
    whole = b"HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length: 11\r\n\r\nhello world"
    got, peer = posted([whole[i : i + 1] for i in range(len(whole))], [whole[:70], whole[70:]], [whole])
    assert bodies(got) == [b"hello world"] * 3
    assert got[0].header("DATE") == "now"
    assert got[0].header("x-none") is None
    assert len(peer.requests) == 3
    assert peer.requests[0].endswith(b"X-Test: 1\r\nContent-Length: 2\r\n\r\n{}")


def test_chunks_are_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    got, _ = posted(
        [head + b"5\r\nhello\r\n", b"6;note=1\r\n world\r\n", b"0\r\n\r\n"],
        [head + b"2\r\n\r\n\r\n0\r\nTrailer: x\r\n\r\n"],
        [head + b"zz\r\n"],
    )
    assert bodies(got[:2]) == [b"hello world", b"\r\n"]
    assert got[2].code == "Garbage"


def test_chunks_may_be_cut_anywhere() -> None:
    """A body whose very last line end comes in two pieces is whole, too."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + b"5;a=b\r\nhello\r\n2\r\n\r\n\r\n0\r\nTrailer: x\r\n\r\n"
    got, _ = posted(*([whole[:at], whole[at:]] for at in range(len(head), len(whole))))
    assert bodies(got) == [b"hello\r\n"] * (len(whole) - len(head))


@pytest.mark.parametrize(
    "chunks",
    [
        b"-6\r\n\r\n",  # which was read again and again without end
        b"+2\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}XX0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"\r\n",
        b"2;" + b"x" * 9_000,
    ],
)
def test_what_are_no_chunks_is_garbage(chunks: bytes) -> None:
    (got,), _ = posted([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks])
    assert got.code == "Garbage"


def test_each_byte_of_chunks_is_looked_at_once() -> None:
    """10 MiB in pieces of a line each: copied at each of them it would take minutes."""
    chunks = Chunks()
    piece = b"400\r\n" + b"x" * 1024 + b"\r\n"
    assert not any(chunks.feed(piece) for _ in range(10 * 1024))
    assert chunks.feed(b"0\r\n\r\n") == b"x" * 10 * 1024 * 1024


def test_any_number_of_interim_answers_is_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    got, _ = posted([interim * 2_000 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    assert bodies(got) == [b"ok"]


def test_an_interim_answer_is_passed_over() -> None:
    got, _ = posted([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    assert bodies(got) == [b"ok"]


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    got, _ = posted([b"HTTP/1.1 200 OK\r\n\r\n", b"to the ", b"end"], close=True)
    assert bodies(got) == [b"to the end"]


def test_an_answer_without_a_body_needs_no_length() -> None:
    got, _ = posted([b"HTTP/1.1 204 No Content\r\n\r\n"], [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    assert bodies(got) == [b"", b""]


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    ],
)
def test_what_is_no_http_is_garbage(garbage: bytes) -> None:
    (got,), _ = posted([garbage])
    assert got.code == "Garbage"


def test_an_answer_that_comes_in_the_moment_of_the_cancellation_is_kept() -> None:
    """A receive that was answered may hold messages: giving it up then would lose them for a visibility timeout."""

    async def story() -> bytes:
        peer = Peer([])
        server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = NativeTransport(TransportSettings(url=f"http://127.0.0.1:{port}/"))
        peer.answers = [[]]
        call = asyncio.create_task(transport.post(b"{}", {}, 5.0))
        await peer.answered.wait()
        (connection,) = transport._open
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        call.cancel()
        answer = await call
        await transport.close()
        server.close()
        return bytes(answer.body)

    assert asyncio.run(story()) == b"ok"


def test_a_call_given_up_takes_no_other_call_along() -> None:
    """Its answer comes between the cancellation and its end, as on uvloop: the connection is free for others then."""

    async def story() -> bytes:
        peer = Peer([])
        server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = NativeTransport(TransportSettings(url=f"http://127.0.0.1:{port}/"))
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        peer.answers = [[], [whole]]
        given_up = asyncio.create_task(transport.post(b"{}", {}, 5.0))
        await peer.answered.wait()
        (connection,) = transport._open
        other = asyncio.create_task(transport.post(b"{}", {}, 5.0))
        given_up.cancel()
        connection.data_received(whole)
        answer = await other
        assert given_up.cancelled()
        assert transport._open == {connection}
        await transport.close()
        server.close()
        return bytes(answer.body)

    assert asyncio.run(story()) == b"ok"


def test_a_proxy_that_is_no_http_proxy_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="speaks to http:// proxies only"):
        NativeTransport(TransportSettings(url="https://sqs.eu-west-1.amazonaws.com/", proxy="https://proxy:3128"))


def test_an_http_endpoint_behind_a_proxy_is_asked_by_its_whole_url() -> None:
    async def story() -> bytes:
        peer = Peer([[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]])
        server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = f"http://ann:s%40cret@127.0.0.1:{port}"
        transport = NativeTransport(TransportSettings(url="http://sqs.test:9000/", proxy=proxy))
        await transport.post(b"{}", {}, 5.0)
        await transport.close()
        server.close()
        return peer.requests[0]

    asked = asyncio.run(story())
    assert asked.startswith(b"POST http://sqs.test:9000/ HTTP/1.1\r\nHost: sqs.test:9000\r\n")
    assert b"Proxy-Authorization: Basic YW5uOnNAY3JldA==\r\n" in asked


def test_a_proxy_that_does_not_answer_leaves_no_connection_open() -> None:
    """Otherwise each try would cost a descriptor."""

    async def story() -> None:
        gone = asyncio.Event()

        class Silent(asyncio.Protocol):
            def connection_lost(self, _: Exception | None) -> None:
                gone.set()

        server = await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0)
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        url = "https://sqs.eu-west-1.amazonaws.com/"
        transport = NativeTransport(TransportSettings(url=url, proxy=proxy, connect_timeout=0.01))
        with pytest.raises(SqsError) as failed:
            await transport.post(b"{}", {}, 5.0)
        assert failed.value.code == "ConnectTimeout"
        async with asyncio.timeout(5):
            await gone.wait()
        await transport.close()
        server.close()

    asyncio.run(story())


def test_a_host_name_that_cannot_be_is_a_connect_error() -> None:
    async def story() -> None:
        transport = NativeTransport(TransportSettings(url="http://sqs..example:1/"))
        with pytest.raises(SqsError) as failed:
            await transport.post(b"{}", {}, 5.0)
        assert failed.value.code == "ConnectError"
        await transport.close()

    asyncio.run(story())


def test_calls_share_one_timer_and_each_keeps_its_own_limit() -> None:
    """L17: a timer for each would cost more than its request; a short limit among long ones is kept all the same."""

    async def story() -> None:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = NativeTransport(TransportSettings(url=f"http://127.0.0.1:{port}/"))
        polls = [asyncio.create_task(transport.post(b"{}", {}, 20.0 + each)) for each in range(3)]
        await asked(transport, 3)
        timer = transport._watchman
        polls.append(asyncio.create_task(transport.post(b"{}", {}, 25.0)))
        await asked(transport, 4)
        assert transport._watchman is timer
        with pytest.raises(SqsError, match=r"did not answer in time.*\(after 0\.05 s\)"):
            await transport.post(b"{}", {}, 0.05)
        assert not any(each.done() for each in polls)
        assert transport._watchman is not timer
        await transport.close()
        errors = await asyncio.gather(*polls, return_exceptions=True)
        assert [each.code for each in errors if isinstance(each, SqsError)] == ["Closed"] * 4
        server.close()

    asyncio.run(story())


async def asked(transport: NativeTransport, calls: int) -> None:
    """Wait until so many calls are on their way."""
    async with asyncio.timeout(5):
        while sum(each.busy for each in transport._open) < calls:  # noqa: ASYNC110 - nothing says when a call goes out
            await asyncio.sleep(0)
