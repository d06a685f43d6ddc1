"""Retry by the kind of error, limit the attempts, and find in the dead-letter queue what failed and why.

The carrier's errors decide: one says when to come again, one passes within seconds, one will never pass. Everything
else is tried again at once, then with a back-off. After four attempts the message goes to the dead-letter queue.

cd examples
leasekeeper local --queue shipments:dlq=shipments-dead,max=9 &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python retries.py &
leasekeeper send shipments busy
leasekeeper send shipments broken
leasekeeper peek shipments-dead        # after some seconds
"""

import logging

from leasekeeper import Consumer, Exponential, Message, Reject, Retries, Table


class RateLimited(Exception):
    """The carrier says in how many seconds it takes the next order."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"come again in {seconds} s")
        self.seconds = seconds


class NoSuchAddress(ValueError):
    """No later attempt will find it."""


def when_the_carrier_says(message: Message[str], attempt: int, error: RateLimited) -> float:
    """Seconds until the next attempt."""
    print(f"{message.body}: attempt {attempt} failed; the carrier says {error.seconds} s", flush=True)
    return error.seconds


def ship(message: Message[str]) -> None:
    order = message.body
    print(f"{order}: attempt {message.attempt}", flush=True)
    if order == "busy" and message.attempt == 1:
        raise RateLimited(2)
    if order == "offline" and message.attempt == 1:
        raise ConnectionError("the carrier does not answer")
    if order == "nowhere":
        raise NoSuchAddress("Atlantis")
    if order == "broken":
        raise RuntimeError("the label printer is on fire")
    print(f"{order}: shipped", flush=True)


retries = Retries(
    Exponential(base=1, maximum=60),
    on={
        RateLimited: when_the_carrier_says,
        ConnectionError: Table(1, 5, 30),
        NoSuchAddress: Reject,
    },
    immediate=1,
)

if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    print(Consumer("shipments", ship, retry=retries, max_attempts=4).run())
