"""Average measurements in worker processes, up to 100 in a call. One of them crashes its worker.

Nothing tells which message that was. So the batch runs again in halves, each in a living worker, until the message is
alone. It is retried alone, and becomes a dead letter after its third crash. All others are done in their first receive.

cd examples
leasekeeper local --queue measurements:dlq=measurements-dead,max=5 &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python process_batches.py &
leasekeeper send measurements '{"degrees": 18.5}'
leasekeeper send measurements '{"degrees": -300}'
"""

import logging
import os
from dataclasses import dataclass

from leasekeeper import Consumer


@dataclass
class Measurement:
    degrees: float


def average(measurements: list[Measurement]) -> None:
    degrees = [each.degrees for each in measurements]
    if min(degrees) < -273.15:
        os.abort()  # as a bug in a C library would
    print(f"average of {len(degrees)}: {sum(degrees) / len(degrees):.1f} degrees", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    print(Consumer("measurements", average, lane="processes", workers=2, batch=100, handler_timeout=60).run())
