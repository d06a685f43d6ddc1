"""Acknowledge before the handler returns, so that a failure in what follows does not run the message again.

`message.ack()` deletes the message now. Await it to know whether SQS confirmed the delete within the lease; if not,
another consumer may run the message too.

cd examples
leasekeeper local --queue charges &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python early_ack.py &
leasekeeper send charges ann
leasekeeper send charges bob
"""

import logging

from leasekeeper import Consumer, Message, Settled

charged: set[str] = set()


async def charge(message: Message[str]) -> None:
    if message.body in charged:  # SQS delivers at least once, so charging must be idempotent
        return
    charged.add(message.body)
    print(f"charged {message.body}", flush=True)

    settled = await message.ack()
    if settled is not Settled.ACKED:
        print(f"{message.body} may be delivered again: {settled.value}", flush=True)

    await send_receipt(message.body)  # raises for some customers; the charge is not repeated


async def send_receipt(customer: str) -> None:
    if customer == "bob":
        raise ConnectionError("the mail server does not answer")
    print(f"sent a receipt to {customer}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    print(Consumer("charges", charge).run())
