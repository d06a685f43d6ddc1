from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.local.http import MOST_BODY, MOST_CHUNKS, HttpRequest, Malformed, RequestReader

PLAIN = (
    b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nauthorization: AWS4\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
CHUNKED = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-AMZ-TARGET: AmazonSQS.SendMessage\r\n\r\n"
    b"4;name=value\r\nWiki\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)
BARE = b"GET /_leasekeeper/health HTTP/1.0\r\n\r\n"


def read_all(data: bytes, cuts: list[int]) -> list[HttpRequest]:
    reader = RequestReader()
    requests = []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        reader.feed(data[start:end])
        while (request := reader.next()) is not None:
            requests.append(request)
    assert reader.buffered == 0
    return requests


@given(st.lists(st.integers(0, len(PLAIN + CHUNKED + BARE)), max_size=8))
def test_requests_are_read_from_any_pieces(cuts: list[int]) -> None:
    requests = read_all(PLAIN + CHUNKED + BARE, cuts)
    assert requests[0].header(b"x-amz-target") == b"AmazonSQS.ListQueues"
    assert [request._replace(head=HttpRequest._field_defaults["head"]) for request in requests] == [
        HttpRequest(b"POST", b"/", b"AmazonSQS.ListQueues", b"{}", close=False, signed=True, host=b"x"),
        HttpRequest(b"POST", b"/", b"AmazonSQS.SendMessage", b"Wiki0123456789", close=False, signed=False),
        HttpRequest(b"GET", b"/_leasekeeper/health", b"", b"", close=True, signed=False),
    ]


@pytest.mark.parametrize(
    ("line", "close"),
    [
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", False),
    ],
)
def test_a_connection_closes_when_the_client_asks_for_it(line: bytes, *, close: bool) -> None:
    (request,) = read_all(line, [])
    assert request.close is close


def test_a_client_that_expects_100_continue_is_noticed_once() -> None:
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert reader.next() is None
    assert reader.wants_continue
    reader.wants_continue = False
    assert reader.next() is None
    assert not reader.wants_continue
    reader.feed(b"{}")
    request = reader.next()
    assert request is not None
    assert request.body == b"{}"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1), 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2_000, 400),
        (b"POST / HTTP/1.1\r\n" + b"x" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"\x00", 400),
        (b"{", 400),
    ],
)
def test_bytes_that_are_not_a_request_are_malformed(data: bytes, status: int) -> None:
    reader = RequestReader()
    reader.feed(data)
    with pytest.raises(Malformed) as caught:
        reader.next()
    assert caught.value.status == status


def test_the_first_byte_of_tls_is_refused_with_the_advice_to_use_http() -> None:
    """A client that starts TLS sends nothing more until it is answered."""
    reader = RequestReader()
    reader.feed(b"\x16")
    with pytest.raises(Malformed, match="use http://"):
        reader.next()


def test_empty_lines_before_a_request_are_skipped() -> None:
    assert [request.path for request in read_all(b"\r\n\r\n" + BARE + b"\r\n" + BARE, [1, 3])] == [
        b"/_leasekeeper/health"
    ] * 2


def test_chunks_are_taken_as_they_arrive_and_not_read_again() -> None:
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1_000):
        reader.feed(b"1\r\nx\r\n1")
        assert reader.next() is None
        assert reader.buffered == 1
        reader.feed(b"\r\ny\r\n")
        assert reader.next() is None
        assert reader.buffered == 0
    reader.feed(b"0\r\n\r\n")
    request = reader.next()
    assert request is not None
    assert request.body == b"xy" * 1_000


def test_the_number_of_chunks_is_limited() -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    (request,) = read_all(head + b"1\r\nx\r\n" * (MOST_CHUNKS - 1) + b"0\r\n\r\n", [])
    assert len(request.body) == MOST_CHUNKS - 1
    with pytest.raises(Malformed, match="send larger ones"):
        read_all(head + b"1\r\nx\r\n" * MOST_CHUNKS + b"0\r\n\r\n", [])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_malformed(data: bytes) -> None:
    reader = RequestReader()
    reader.feed(data + b"\r\n\r\n")
    try:
        while reader.next() is not None:
            pass
    except Malformed:
        pass
