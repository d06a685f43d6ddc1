"""Everything in one process: the built-in SQS, a producer and a consumer. No AWS account is needed.

cd examples
python in_process.py
"""

import asyncio

from leasekeeper import Consumer
from leasekeeper.api import Outgoing
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

COUNT = 100


async def main() -> None:
    all_handled = asyncio.Event()
    handled: list[int] = []

    async def square(number: int) -> None:
        handled.append(number * number)
        if len(handled) == COUNT:
            all_handled.set()

    with LocalSqs() as sqs:
        producer = await SqsClient.connect(ClientSettings(endpoint_url=sqs.endpoint_url, region="eu-west-1"))
        url = await producer.create_queue("numbers")
        for start in range(0, COUNT, 10):
            await producer.send_batch(url, [Outgoing(body=str(n)) for n in range(start, start + 10)])
        await producer.close()

        async with Consumer("numbers", square, endpoint_url=sqs.endpoint_url, region="eu-west-1"):
            await all_handled.wait()
        print(f"{len(handled)} squares, the largest {max(handled)}; calls: {dict(sqs.calls)}")


if __name__ == "__main__":
    asyncio.run(main())
