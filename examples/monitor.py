"""Monitor a consumer: an alarm from its events, and its statistics as one line of JSON every ten seconds.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python monitor.py &
leasekeeper send orders tea
"""

import dataclasses
import json
import logging
import threading
import time

from leasekeeper import Consumer, Message, events

EVERY = 10.0


async def ship(message: Message[str]) -> None:
    print(f"shipping {message.body}", flush=True)


def alarm(event: events.HealthChanged) -> None:
    """Runs on the engine's thread, so it must be quick: give slow work to another thread."""
    if event.healthy:
        print(f"{event.queue} is healthy again", flush=True)
    else:
        print(f"ALARM: {event.queue} is unhealthy\n  {event.reason}", flush=True)


def write_statistics(consumer: Consumer) -> None:
    """Statistics may be taken on any thread; None before the start."""
    while True:
        now = consumer.statistics()
        if now is not None:
            print(json.dumps(dataclasses.asdict(now)), flush=True)
        time.sleep(0.1 if now is None else EVERY)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    consumer = Consumer("orders", ship)
    consumer.subscribe(alarm, events.HealthChanged)
    threading.Thread(target=write_statistics, args=[consumer], daemon=True).start()
    print(consumer.run())
