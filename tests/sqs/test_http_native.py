"""What the transport of our own does beyond the suite it shares with libraries."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from leasekeeper.api import Response, TransportSettings
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.chunks import Chunks
from leasekeeper.sqs.http_aiohttp import AiohttpTransport
from leasekeeper.sqs.http_native import NativeTransport


class Peer(asyncio.Protocol):
    """A server that answers each request with the next of its pieces, written one by one in turns of the loop."""

    def __init__(self, answers: list[list[bytes]], *, close: bool | str = False) -> None:
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
            if self.close == "reset":
                linger = struct.pack("ii", 1, 0)
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                asyncio.get_running_loop().call_later(0.01, self.transport.abort)
            elif self.close:
                self.transport.close()


def posted(
    *answers: list[bytes], close: bool | str = False, make: Any = NativeTransport, timeout: float = 5.0, **how: Any
) -> tuple[list[Any], Peer]:
    """What comes of a post for each of the answers, and the peer."""

    async def story() -> tuple[list[Any], Peer]:
        peer = Peer(list(answers), close=close)
        server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = make(TransportSettings(url=f"http://127.0.0.1:{port}/", **how))
        got: list[Any] = []
        for _ in answers:
            try:
                got.append(await transport.post(b"{}", {"X-Test": "1"}, timeout))
            except SqsError as error:
                got.append(error)
        await transport.close()
        server.close()
        return got, peer

    return asyncio.run(story())


def arrive(connection: Any, data: bytes) -> None:
    """Let bytes arrive at a connection, as the loop does."""
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


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
    """A body is whole even if its last line end comes in two pieces."""
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
    chunks = Chunks(10 * 1024 * 1024)
    piece = b"400\r\n" + b"x" * 1024 + b"\r\n"
    assert not any(chunks.feed(piece) for _ in range(10 * 1024))
    assert bytes(chunks.feed(b"0\r\n\r\n") or b"") == b"x" * 10 * 1024 * 1024


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


OK = b"HTTP/1.1 200 OK\r\n"


HOSTILE = [
    (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
    (b"\x15\x03\x01\x00\x02\x02\x46", "it answers in TLS: write https:// in the endpoint URL"),
    (b"HTTP/1.1 abc OK\r\n\r\n", "is no head of a response"),
    (b"HTTP/1.1 999 OK\r\n\r\n", "is no head of a response"),
    (b"HTTP/1.1 200OK\r\n\r\n", "is no head of a response"),
    (b"HTTP/2 200 OK\r\n\r\n", "HTTP/2"),
    (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "200 OK"),
    (OK + b"Content-Length: 2\r\n\r\nokay", "2 bytes more than announced"),
    (OK + b"X: " + b"y" * 70_000, "a head of more than 65,536 bytes"),
    (OK + b"Content-Length : 2\r\n\r\nok", "is no head of a response"),
    (OK + b"no colon\r\n\r\n", "is no head of a response"),
    (OK + b" folded: x\r\n\r\n", "is no head of a response"),
    (OK + b"X: a\0b\r\n\r\n", "is no head of a response"),
    (OK + b"Content-Length: " + b"9" * 4_300 + b"\r\n\r\n", "Content-Length b'9999"),
    (OK + b"Content-Length: 99999999999\r\n\r\n", "a body of 99,999,999,999 bytes was announced"),
    (OK + b"Content-Length: -1\r\n\r\n", "Content-Length b'-1'"),
    (OK + b"Content-Length: +2\r\n\r\nok", "Content-Length b'+2'"),
    (OK + b"Content-Length: 0x2\r\n\r\nok", "Content-Length b'0x2'"),
    (OK + b"Content-Length:\r\n\r\nok", "Content-Length b''"),
    (OK + b"Content-Length: 2, 2\r\n\r\nok", "Content-Length b'2, 2'"),
    (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", "two lengths, 2 and 3"),
    (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "both a length and chunks"),
    (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding b'gzip, chunked'"),
    (OK + b"Transfer-Encoding: identity\r\n\r\n", "Transfer-Encoding b'identity'"),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding b'chunked'"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "is no chunk's size"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", "a body of more than 83,886,080 bytes"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 3_000, "trailers of more than 8,192 bytes"),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it switches protocols"),
    (b"HTTP/1.1 103 Early Hints\r\nX: 1234567890\r\n\r\n" * 2_000, "interim responses of more than 65,536 bytes"),
]


@pytest.mark.parametrize(("garbage", "said"), HOSTILE)
def test_what_no_server_of_sqs_sends_is_refused_at_once(garbage: bytes, said: str) -> None:
    """The peer keeps the connection open: what is not judged at once would last until the call's time-out."""
    (got,), _ = posted([garbage])
    assert got.code == "Garbage"
    assert said in got.message
    assert len(got.message) < 700


@pytest.mark.parametrize("garbage", [garbage for garbage, _ in HOSTILE])
def test_the_transport_over_aiohttp_ends_such_calls_with_an_error_of_ours(garbage: bytes) -> None:
    """It is more lenient, and judges some only at the call's time-out; but nothing else is ever raised."""
    (got,), _ = posted([garbage], make=AiohttpTransport, timeout=0.1)
    assert isinstance(got, (SqsError, Response))


@pytest.mark.parametrize("make", [NativeTransport, AiohttpTransport])
def test_a_body_that_is_announced_too_long_is_not_waited_for(make: Any) -> None:
    (got,), _ = posted([OK + b"Content-Length: 99999999999\r\n\r\n"], make=make)
    assert got.code == "Garbage"


def test_a_length_may_be_said_twice() -> None:
    got, _ = posted([OK + b"Content-Length: 2\r\nContent-Length: 02\r\n\r\nok"])
    assert bodies(got) == [b"ok"]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_status_without_a_body_has_none_whatever_its_head_says(status: bytes) -> None:
    """Nothing is waited for, and the connection is not used again: the server may send the body after all."""
    got, peer = posted([b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n"])
    assert bodies(got) == [b""]
    assert peer.transport.is_closing()


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Content-Length: 9\r\n\r\n", OK[:-1], OK + b"\r\nto the"])
def test_a_reset_within_an_answer_is_no_end_of_it(head: bytes) -> None:
    """A body without a length ends with the connection's orderly end only: after a reset it may have lost its rest."""
    (got,), _ = posted([head], close="reset")
    assert isinstance(got, SqsError)
    assert got.code == "Truncated"


def test_a_body_without_a_length_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasekeeper.sqs.response.MAX_BODY", 1_000)
    (got,), _ = posted([OK + b"\r\n", b"x" * 1_001])
    assert (got.code, "a body of more than 1,000 bytes" in got.message) == ("Garbage", True)


def test_chunks_of_one_byte_have_the_same_limit() -> None:
    chunks = Chunks(1_000)
    with pytest.raises(ValueError, match="a body of more than 1,000 bytes"):
        for _ in range(1_001):
            chunks.feed(b"1\r\nx\r\n")


def test_a_connection_is_not_used_again_while_a_request_is_still_being_sent() -> None:
    """A server may answer before it has read the request; the rest of it must not go in front of the next one."""
    made: list[asyncio.BaseTransport] = []

    class Hasty(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            made.append(transport)

        def data_received(self, _: bytes) -> None:
            self.transport.pause_reading()
            self.transport.write(OK + b"Content-Length: 2\r\n\r\nok")

    async def story() -> None:
        server = await asyncio.get_running_loop().create_server(Hasty, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = NativeTransport(TransportSettings(url=f"http://127.0.0.1:{port}/"))
        for size in (30_000_000, 2):
            assert (await transport.post(b"x" * size, {}, 5.0)).body == b"ok"
        await transport.close()
        for each in made:
            each.close()
        server.close()
        await asyncio.sleep(0)

    asyncio.run(story())
    assert len(made) == 2


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
        arrive(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
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
        arrive(connection, whole)
        answer = await other
        assert given_up.cancelled()
        assert transport._open == {connection}
        await transport.close()
        server.close()
        return bytes(answer.body)

    assert asyncio.run(story()) == b"ok"


def test_a_proxy_that_is_no_http_proxy_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="supports http:// proxies only"):
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
        async with asyncio.timeout(60):
            await gone.wait()
        await transport.close()
        server.close()

    asyncio.run(story())


def test_a_host_name_that_cannot_exist_is_not_resolved() -> None:
    async def story() -> None:
        transport = NativeTransport(TransportSettings(url="http://sqs..example:1/"))
        with pytest.raises(SqsError) as failed:
            await transport.post(b"{}", {}, 5.0)
        assert failed.value.code == "NameNotResolved"
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
        timer = transport._overdue
        polls.append(asyncio.create_task(transport.post(b"{}", {}, 25.0)))
        await asked(transport, 4)
        assert transport._overdue is timer
        with pytest.raises(SqsError, match=r"did not answer in time.*\(after 0\.05 s\)"):
            await transport.post(b"{}", {}, 0.05)
        assert not any(each.done() for each in polls)
        assert transport._overdue is not timer
        await transport.close()
        errors = await asyncio.gather(*polls, return_exceptions=True)
        assert [each.code for each in errors if isinstance(each, SqsError)] == ["Closed"] * 4
        server.close()

    asyncio.run(story())


async def asked(transport: NativeTransport, calls: int) -> None:
    """Wait until so many calls are on their way."""
    async with asyncio.timeout(60):
        while sum(each.busy for each in transport._open) < calls:  # noqa: ASYNC110 - nothing says when a call goes out
            await asyncio.sleep(0)
