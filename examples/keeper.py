"""Keep leases through a call that keeps the GIL for two and a half visibility timeouts.

Nothing in this process can extend a lease meanwhile: the keeper, another process, does it. Linux only.

cd examples
leasekeeper local --queue documents &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python keeper.py &
leasekeeper send documents report
"""

import ctypes

from leasekeeper import Consumer, Message

VISIBILITY = 2
keep_the_gil = ctypes.PyDLL(None).usleep  # stands for a regular expression that backtracks, or a C library


def index(message: Message[str]) -> None:
    print(f"{message.body}: receive {message.receive_count}", flush=True)
    keep_the_gil(int(2.5 * VISIBILITY * 1_000_000))
    print(f"{message.body}: lease lost: {message.lease_lost}", flush=True)


if __name__ == "__main__":
    consumer = Consumer("documents", index, keeper=True, visibility_timeout=VISIBILITY, concurrency=2, threads=1)
    consumer.run()
