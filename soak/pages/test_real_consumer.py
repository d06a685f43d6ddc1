"""The live page of a real consumer on a local SQS: messages flow, actions act, a stop ends with the page open."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from leasekeeper import Consumer
from leasekeeper.admin import AdminServer
from leasekeeper.api import Credentials
from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from stage import Opener

TOKEN = "open-sesame"


def call(endpoint_url: str, operation: str, **members: Any) -> None:
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    urllib.request.urlopen(urllib.request.Request(endpoint_url, json.dumps(members).encode(), headers)).close()


async def ship(order: dict[str, Any]) -> None:
    """Takes long enough to be seen; every fifth order fails."""
    await asyncio.sleep(0.2)
    if order["number"] % 5 == 0:
        raise ValueError("no such customer: <b>")


def test_a_real_consumer_is_watched_paused_resumed_and_stopped(tab: Opener) -> None:
    with LocalSqs() as sqs:
        call(sqs.endpoint_url, "CreateQueue", QueueName="orders")
        consumer = Consumer(
            "orders",
            ship,
            concurrency=4,
            endpoint_url=sqs.endpoint_url,
            region="us-east-1",
            credentials=Credentials(access_key="test", secret_key="test"),
        )
        running = threading.Thread(target=asyncio.run, args=[consume(consumer)])
        with AdminServer(consumer, address="127.0.0.1:0", token=TOKEN) as admin:
            running.start()
            for number in range(60):
                call(sqs.endpoint_url, "SendMessage", QueueUrl="orders", MessageBody=json.dumps({"number": number}))
            page = tab(f"{admin.url}/?consumer=orders&tab=failures")
            expect(page.locator("summary").first).to_contain_text("ValueError", timeout=15_000)
            page.locator("#tab-options").click()
            expect(page.locator(".options")).to_contain_text("concurrency")

            page.get_by_role("button", name="Pause…").click()
            page.locator("#token").fill(TOKEN)
            page.locator("#do").click()
            expect(page.locator(".head .pill")).to_contain_text("PAUSED")
            page.get_by_role("button", name="Resume…").click()
            page.locator("#do").click()
            expect(page.locator(".head .pill")).to_contain_text("RUNNING")
            page.get_by_role("button", name="Stop…").click()
            page.locator("#do").click()
            expect(page.locator(".head .pill")).to_contain_text("STOPPED")
            running.join(20)
            assert not running.is_alive()
            began = time.monotonic()
        assert time.monotonic() - began < 3  # with the page's stream open
        expect(page.locator(".reason.stale")).to_contain_text("has said that it stops")


async def consume(consumer: Consumer) -> None:
    async with consumer:
        await consumer.wait()
