"""Count primes in worker processes, on all CPUs. One message crashes its worker; the others do not notice.

leasekeeper local --queue primes:dlq=primes-dead,max=5 &
python examples/worker_processes.py &
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
