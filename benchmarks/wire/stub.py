"""A stub of SQS that answers every call at once with a ready-made answer, for measuring clients.

Run as `python benchmarks/wire/stub.py [CERTIFICATE]`; it prints its port. With a PEM file of key and certificate it
speaks TLS. It promises to cost as little as Python can.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
from typing import cast

import uvloop

BODY = "x" * 500
MD5 = hashlib.md5(BODY.encode(), usedforsecurity=False).hexdigest()
RECEIPT = "AQEB" + "wJalrXUtnFEMI/K7MDENGbPxRfiCYEXAMPLEKEY+" * 8


def _answer(body: object) -> bytes:
    data = json.dumps(body, separators=(",", ":")).encode()
    return (
        b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 5d1f4c3e-0000-5a5a-9b9b-0123456789ab\r\n"
        b"Content-Type: application/x-amz-json-1.0\r\nDate: Thu, 05 Nov 2026 10:00:00 GMT\r\n"
        b"Content-Length: %d\r\n\r\n" % len(data)
    ) + data


def _message(position: int) -> dict[str, object]:
    return {
        "MessageId": f"c80e8021-a70a-42c7-a470-79692cf8{position:04d}",
        "ReceiptHandle": f"{RECEIPT}{position}",
        "MD5OfBody": MD5,
        "Body": BODY,
        "Attributes": {
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1793872800123",
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1793872799321",
        },
    }


RECEIVE = _answer({"Messages": [_message(position) for position in range(10)]})
BATCH = _answer({"Successful": [{"Id": str(position)} for position in range(10)]})
SINGLE = _answer({})


class Stub(asyncio.Protocol):
    """One connection: reads requests to their end, answers by their target."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.index(b"content-length:") + 15
            line = head.find(b"\r\n", at)
            whole = end + 4 + int(head[at : line if line >= 0 else None])
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            if b"receivemessage" in head:
                self._transport.write(RECEIVE)
            else:
                self._transport.write(BATCH if b"batch" in head else SINGLE)


async def main() -> None:
    tls = None
    if len(sys.argv) > 1:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
