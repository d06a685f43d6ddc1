"""Count primes in worker processes, on all CPUs. One message crashes its worker; the others do not notice.

cd examples
leasekeeper local --queue primes:dlq=primes-dead,max=5 &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python worker_processes.py &
leasekeeper send primes 100000
leasekeeper send primes crash
"""

import logging
import os

from leasekeeper import Consumer


def count_primes(body: str) -> None:
    if body == "crash":
        os.abort()  # as a bug in a C library would
    limit = int(body)
    found = sum(all(number % each for each in range(2, int(number**0.5) + 1)) for number in range(2, limit))
    print(f"{found} primes below {limit}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    print(Consumer("primes", count_primes, lane="processes", workers=2, handler_timeout=60).run())
