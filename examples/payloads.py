"""Large payloads: a body of 2 MiB goes to S3, a pointer to the queue, and the handler gets the body.

It needs no server: SQS and S3 are in this process. Elsewhere leave `endpoint_url` out, and name your bucket.

cd examples
python payloads.py
"""

import asyncio

from leasekeeper import Consumer, Sender
from leasekeeper.api import Credentials
from leasekeeper.local import LocalSqs
from leasekeeper.payloads import S3Payloads
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

CREDENTIALS = Credentials(access_key="local", secret_key="local")
done = asyncio.Event()


async def main(sqs: LocalSqs) -> None:
    objects = sqs.s3.buckets["my-payloads"]
    payloads = S3Payloads("my-payloads", prefix="docs/", endpoint_url=sqs.endpoint_url, credentials=CREDENTIALS)

    async def index(document: str) -> None:
        print(f"a document of {len(document):,} characters, {len(objects)} object in S3", flush=True)
        done.set()

    url, region = sqs.endpoint_url, "eu-west-1"
    client = await SqsClient.connect(ClientSettings(endpoint_url=url, region=region))
    await client.create_queue("docs")
    await client.close()
    async with Sender("docs", endpoint_url=url, region=region, payloads=payloads) as sender:
        await sender.send("x" * 2_097_152)
    async with Consumer("docs", index, endpoint_url=url, region=region, payloads=payloads):
        await done.wait()
    print(f"{len(objects)} objects in S3", flush=True)


if __name__ == "__main__":
    with LocalSqs() as sqs:
        sqs.s3.create("my-payloads")
        asyncio.run(main(sqs))
