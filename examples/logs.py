"""Logs with structlog: what a handler logs says which message it is about.

pip install structlog
python examples/logs.py        # with a queue as in hello.py
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
