"""The operations of the wire that `micro.py` measures: from the bytes of an answer to messages, and back."""
# ruff: noqa: SLF001 - a connection is normally made by dialling, and here no server answers

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
from micro_cases import TEN, Operation, case

from leasekeeper.api import Credentials, TransportSettings
from leasekeeper.sqs import codec, http_native
from leasekeeper.sqs.connection import Connection
from leasekeeper.sqs.digests import intact
from leasekeeper.sqs.signer import FIXED_HEADERS, Signer

if TYPE_CHECKING:
    import asyncio

URL = "https://sqs.eu-west-1.amazonaws.com"
QUEUE_URL = f"{URL}/123456789012/orders"
RECEIPTS = [each.receipt for each in TEN]
ANSWER = msgspec.json.encode({"Messages": TEN})


@case("signer", "a delete of ten is signed")
def _() -> Operation:
    signer = Signer(URL, "eu-west-1", clock=lambda: 1_700_000_000.0)
    credentials, body = Credentials(access_key="AKIDEXAMPLE", secret_key="secret"), codec.delete_body("q", RECEIPTS)
    return lambda: signer.sign(credentials, "DeleteMessageBatch", body)


@case("codec-receive", "an answer with ten messages is decoded")
def _() -> Operation:
    decoder = msgspec.json.Decoder(codec.ReceiveAnswer)
    return lambda: decoder.decode(ANSWER)


@case("codec-delete", "a delete of ten is encoded")
def _() -> Operation:
    return lambda: codec.delete_body(QUEUE_URL, RECEIPTS)


@case("codec-outcomes", "the answer to a delete of ten is decoded and read")
def _() -> Operation:
    decoder = msgspec.json.Decoder(codec.BatchAnswer)
    answer = msgspec.json.encode({"Successful": [{"Id": str(each)} for each in range(10)], "Failed": []})
    return lambda: codec.outcomes(decoder.decode(answer), 10)


@case("digests", "ten bodies of 500 bytes are verified")
def _() -> Operation:
    return lambda: intact(TEN, attributes=True)


class Link:
    """A transport without a peer."""

    def get_extra_info(self, _: str) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def write(self, _: bytes) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def _linked() -> tuple[http_native.NativeTransport, Any]:
    """A transport with one idle connection."""
    transport = http_native.NativeTransport(TransportSettings(url="http://127.0.0.1:9324", headers=FIXED_HEADERS))
    connection = Connection(transport)
    connection.connection_made(cast("asyncio.Transport", Link()))
    transport._open.add(connection)
    transport._idle.append(connection)
    return transport, connection


def _arrive(connection: Connection, data: bytes) -> None:
    """Pass bytes to the protocol, as the loop does."""
    space = connection.get_buffer(-1)
    space[: len(data)] = data
    connection.buffer_updated(len(data))


HEAD = (
    b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 6b1f3c52-0a55-5d0e-9c49-63d2a1f0b7c4\r\n"
    b"Date: Wed, 15 Nov 2023 22:13:20 GMT\r\nContent-Type: application/x-amz-json-1.0\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n" % len(ANSWER)
)
WHOLE = HEAD + ANSWER


def _reading(pieces: list[bytes]) -> Operation:
    transport, connection = _linked()

    def operation() -> None:
        transport._idle.pop()
        answer = connection.send(b"")
        for piece in pieces:
            _arrive(connection, piece)
        answer.result()

    return operation


@case("http-read", "an answer with ten messages is read, all in one piece")
def _() -> Operation:
    return _reading([WHOLE])


@case("http-read-pieces", "the same, in three pieces")
def _() -> Operation:
    return _reading([WHOLE[:100], WHOLE[100:4000], WHOLE[4000:]])


@case("http-post", "a call is posted and its answer read")
def _() -> Operation:
    transport, connection = _linked()
    body, credentials = codec.delete_body("q", RECEIPTS), Credentials(access_key="AKIDEXAMPLE", secret_key="secret")
    headers = Signer(URL, "eu-west-1").sign(credentials, "DeleteMessageBatch", body)

    def operation() -> None:
        call = transport.post(body, headers, 10.0)
        call.send(None)
        _arrive(connection, WHOLE)
        try:
            call.send(None)
        except StopIteration:
            return

    return operation
