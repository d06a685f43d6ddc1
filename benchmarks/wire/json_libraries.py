"""What JSON costs a message: an answer of ten messages to our types, and the body of ten deletes, by library.

Run as `python benchmarks/wire/json_libraries.py`; orjson is measured where it is installed (`pip install orjson`). It
promises the least of several rounds, in microseconds of CPU a call.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
from stub import RECEIPT, RECEIVE

from leasekeeper.message import MessageAttribute, Received
from leasekeeper.sqs import codec

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, CALLS = 7, 20_000
ANSWER = RECEIVE.partition(b"\r\n\r\n")[2]
RECEIPTS = [f"{RECEIPT}{position}" for position in range(10)]
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


def typed(answer: dict[str, Any]) -> list[Received]:
    """What a library that knows no types leaves to be done."""
    return [
        Received(
            message_id=message["MessageId"],
            receipt=message["ReceiptHandle"],
            body=message["Body"],
            md5_of_body=message["MD5OfBody"],
            md5_of_attributes=message.get("MD5OfMessageAttributes", ""),
            system=message["Attributes"],
            attributes={
                name: MessageAttribute(data_type=value["DataType"], string_value=value.get("StringValue"))
                for name, value in message.get("MessageAttributes", {}).items()
            },
        )
        for message in answer["Messages"]
    ]


def deletes() -> dict[str, Any]:
    return {"QueueUrl": URL, "Entries": [{"Id": str(at), "ReceiptHandle": each} for at, each in enumerate(RECEIPTS)]}


def cases() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """By library: how it reads the answer, and how it writes the body."""
    decoder = msgspec.json.Decoder(codec.ReceiveAnswer)
    found: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "msgspec, typed": (lambda: decoder.decode(ANSWER), lambda: codec.delete_body(URL, RECEIPTS)),
        "msgspec, dictionaries": (
            lambda: typed(msgspec.json.decode(ANSWER)),
            lambda: msgspec.json.encode(deletes()),
        ),
        "json": (lambda: typed(json.loads(ANSWER)), lambda: json.dumps(deletes(), separators=(",", ":")).encode()),
    }
    try:
        import orjson
    except ImportError:
        return found
    return {**found, "orjson": (lambda: typed(orjson.loads(ANSWER)), lambda: orjson.dumps(deletes()))}


def least(call: Callable[[], object]) -> float:
    """Microseconds of CPU a call."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        rounds.append(time.process_time() - began)
    return min(rounds) / CALLS * 1e6


def main() -> None:
    print(f"{'':<24}{'receive of ten, us':>20}{'delete of ten, us':>20}")
    for name, (read, write) in cases().items():
        print(f"{name:<24}{least(read):>20.1f}{least(write):>20.1f}")


if __name__ == "__main__":
    main()
