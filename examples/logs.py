"""Logs with structlog: what a handler logs says which message it is about.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
pip install structlog
python logs.py &
leasekeeper send orders tea
"""

import logging

import structlog

from leasekeeper import Consumer, Message, MessageContext

structlog.configure(
    processors=[MessageContext(), structlog.processors.add_log_level, structlog.processors.JSONRenderer()]
)
log = structlog.get_logger()


async def ship(message: Message[str]) -> None:
    log.info("shipping", parcel=message.body)  # with queue, handler, message_id, receive_count, attempt


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    print(Consumer("orders", ship).run())
