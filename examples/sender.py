"""Send ten orders in one call, wait for each, then post a few more that need not be waited for.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python sender.py
leasekeeper peek orders
"""

import asyncio
from dataclasses import dataclass

from leasekeeper import Sender


@dataclass
class Order:
    id: int
    customer: str


async def main() -> None:
    async with Sender("orders") as sender:
        orders = [Order(number, "ann") for number in range(10)]
        answers = await asyncio.gather(*(sender.send(order) for order in orders))
        print(f"SQS has {len(answers)} orders, the first as {answers[0].message_id}")
        for number in range(10, 15):
            sender.post(Order(number, "bob"))
        await sender.flush()  # raises Unsent if something could not be sent
        print(f"{sender.statistics().sent} messages in {sender.statistics().calls} calls", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
