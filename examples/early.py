"""Acks that are given early, or later than the handler returns.

`message.ack()` says now that the message is done; what follows may fail without its coming again. `message.withhold()`
keeps message and lease when the handler returns: here three are gathered, written together, and acked then.
"""

import asyncio
import logging

from leasekeeper import Consumer, Message

BATCH = 3
gathered: list[Message[str]] = []


async def count(message: Message[str]) -> None:
    if message.body == "urgent":
        settlement = message.ack()
        print(f"urgent: {(await settlement).value}", flush=True)  # known: the delete was confirmed
        raise RuntimeError("what fails after an ack brings no message back")
    message.withhold()
    gathered.append(message)
    if len(gathered) >= BATCH:
        await write_all()


async def write_all() -> None:
    batch, gathered[:] = gathered[:], []
    await asyncio.sleep(0)  # the one write for all of them
    for message in batch:
        message.ack()
    print(f"wrote {len(batch)}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    print(Consumer("events", count).run())
