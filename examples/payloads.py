"""Large payloads: a body of 2 MiB goes to S3, a pointer to the queue, and the handler gets the body.

It needs no server: SQS and S3 are in this process. Elsewhere leave `client` out, and name your bucket.
"""

import asyncio

from leasekeeper import Consumer, Sender
from leasekeeper.local import LocalSqs
from leasekeeper.local.objects import Objects
from leasekeeper.payloads import S3Payloads
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

objects = Objects()
payloads = S3Payloads("my-payloads", prefix="docs/", client=objects)
done = asyncio.Event()


async def index(document: str) -> None:
    print(f"a document of {len(document):,} characters, {len(objects.stored)} object in S3", flush=True)
    done.set()


async def main(url: str) -> None:
    client = await SqsClient.connect(ClientSettings(endpoint_url=url, region="eu-west-1"))
    await client.create_queue("docs")
    await client.close()
    async with Sender("docs", endpoint_url=url, region="eu-west-1", payloads=payloads) as sender:
        await sender.send("x" * 2_097_152)
    async with Consumer("docs", index, endpoint_url=url, region="eu-west-1", payloads=payloads):
        await done.wait()
    print(f"{len(objects.stored)} objects in S3", flush=True)


if __name__ == "__main__":
    with LocalSqs() as sqs:
        asyncio.run(main(sqs.endpoint_url))
