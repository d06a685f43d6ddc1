"""CPU of one signature: botocore's signer and ours, over a receive's and a delete's body.

Run as `python benchmarks/wire/signing.py`. It promises the least of five rounds, in microseconds.
"""

from __future__ import annotations

import timeit
from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from leasekeeper.api import Credentials
from leasekeeper.sqs.codec import delete_body, receive_body
from leasekeeper.sqs.signer import Signer
from leasekeeper.sqs.wire import FIXED_HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://sqs.eu-west-1.amazonaws.com/"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
KEYS = Credentials(access_key="AKIDEXAMPLE", secret_key="secret", token="t" * 400)
BODIES = {
    "ReceiveMessage": receive_body(QUEUE, 10, 20, 30, ("All",)),
    "DeleteMessageBatch": delete_body(QUEUE, [f"{'A' * 344}{position}" for position in range(10)]),
}


def _microseconds(call: Callable[[], object], times: int = 5000) -> float:
    return min(timeit.repeat(call, number=times, repeat=5)) / times * 1e6


def main() -> None:
    ours = Signer(URL, "eu-west-1")
    theirs = SigV4Auth(BotocoreCredentials(KEYS.access_key, KEYS.secret_key, KEYS.token), "sqs", "eu-west-1")
    for operation, body in BODIES.items():
        headers = {**FIXED_HEADERS, "X-Amz-Target": f"AmazonSQS.{operation}"}

        def botocore(headers: dict[str, str] = headers, body: bytes = body) -> None:
            theirs.add_auth(AWSRequest("POST", URL, headers, body))

        def leasekeeper(operation: str = operation, body: bytes = body) -> None:
            ours.sign(KEYS, operation, body)

        print(
            f"{operation} ({len(body)} bytes): botocore {_microseconds(botocore, 1000):.1f} us, "
            f"leasekeeper {_microseconds(leasekeeper):.1f} us"
        )


if __name__ == "__main__":
    main()
