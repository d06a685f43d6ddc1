"""Make the pictures of the pages in docs/images: `make screenshots`. They show made-up states at a fixed time.

All pages at three widths, in light and dark; and some views once.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright
from stage import Stage

from leasekeeper.local import Broker, LocalServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TARGET = Path(__file__).parents[3] / "docs/images"
WIDTHS = {1600: 900, 900: 900, 380: 760}
"""Width and height in pixels."""
SCHEMES: tuple[Any, ...] = ("light", "dark")
QUALITY = 80
MOST = 1_500_000
"""Bytes of all pictures."""
NOW = 1_790_000_001.0
ALL = {"overview": ("calm", ""), "consumer": ("calm", "?consumer=orders"), "fleet": ("fleet", "")}
"""Views that are taken at all widths, in light and dark."""
ONCE = {
    "many-in-hand": ("crowded", "?consumer=orders", 1600, "dark"),
    "trouble": ("trouble", "", 900, "light"),
    "fifo": ("calm", "?consumer=payments.fifo", 1600, "light"),
    "failures": ("calm", "?consumer=orders&tab=failures", 900, "light"),
    "throttler": ("calm", "?consumer=orders&tab=throttler", 1600, "light"),
    "options": ("calm", "?consumer=orders&tab=options", 900, "dark"),
}
DEAD = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:orders-dead", "maxReceiveCount": 5}


def take(browser: Browser, url: str, name: str, width: int, scheme: Any) -> None:
    """One picture."""
    page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
    page.goto(url)
    page.wait_for_selector(".status.live")
    page.wait_for_timeout(2_500)  # cells fade in, and the log of calls fills
    if "failures" in name:
        page.locator("summary").first.click()
    if "&tab=" in url:
        page.locator(".tab").evaluate("tab => tab.scrollIntoView()")
    session = page.context.new_cdp_session(page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    (TARGET / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))
    page.close()


async def fill(broker: Broker) -> None:
    """Queues and messages for the page of the local server, and a fault."""
    for queue, attributes in (
        ("orders-dead", {}),
        ("orders", {"RedrivePolicy": json.dumps(DEAD), "VisibilityTimeout": "120"}),
        ("payments.fifo", {"FifoQueue": "true"}),
        ("emails", {}),
    ):
        await broker.call("CreateQueue", {"QueueName": queue, "Attributes": attributes})
    for number in range(16):
        body = json.dumps({"id": number, "items": ["tea", "honey"]})
        await broker.call("SendMessage", {"QueueUrl": "orders", "MessageBody": body})
        group = {"MessageGroupId": f"tenant-{number % 3}", "MessageDeduplicationId": str(number)}
        await broker.call("SendMessage", {"QueueUrl": "payments.fifo", "MessageBody": body, **group})
    for _ in range(3):
        await broker.call("SendMessage", {"QueueUrl": "orders-dead", "MessageBody": "{}"})
    await broker.call("SendMessage", {"QueueUrl": "orders", "MessageBody": "{}", "DelaySeconds": 300})
    await broker.call("ReceiveMessage", {"QueueUrl": "orders", "MaxNumberOfMessages": 7})
    broker.faults.set("ReceiveMessage", throttle=0.1)


async def with_local_server(browser_work: Any) -> None:
    """Run the work of the browser in a thread while the local server runs here."""
    server = LocalServer(Broker(seed=1))
    await server.open()
    await fill(server.broker)
    calls = asyncio.create_task(call_on(server.endpoint_url))
    await asyncio.to_thread(browser_work, f"{server.endpoint_url}/_leasekeeper/?queue=orders")
    calls.cancel()
    await server.close()


async def call_on(endpoint_url: str) -> None:
    """Make some calls, so that the log has something to show."""
    from leasekeeper.api import Credentials
    from leasekeeper.sqs.client import SqsClient
    from leasekeeper.sqs.settings import ClientSettings

    credentials = Credentials(access_key="local", secret_key="local")
    client = await SqsClient.connect(
        ClientSettings(endpoint_url=endpoint_url, region="us-east-1", credentials=credentials)
    )
    url = f"{endpoint_url}/000000000000/emails"
    while True:
        await asyncio.sleep(0.4)
        await client.queue_attributes(url, ["ApproximateNumberOfMessages"])
        await client.queue_attributes(url.replace("emails", "orders"), ["QueueArn"])


def main() -> None:
    """Make them all, and check their size."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)

    def local(url: str) -> None:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for width in WIDTHS:
                for scheme in SCHEMES:
                    take(browser, url, f"local-{width}-{scheme}", width, scheme)
            browser.close()

    with Stage(now=NOW) as stage, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (scene, query) in ALL.items():
            for width in WIDTHS:
                for scheme in SCHEMES:
                    take(browser, stage.url(scene, query), f"{name}-{width}-{scheme}", width, scheme)
        for name, (scene, query, width, scheme) in ONCE.items():
            take(browser, stage.url(scene, query), name, width, scheme)
        browser.close()
    asyncio.run(with_local_server(local))
    size = sum(path.stat().st_size for path in TARGET.iterdir())
    print(f"{len(list(TARGET.iterdir()))} pictures, {size / 1e6:.2f} MB")  # noqa: T201
    if size > MOST:
        sys.exit(f"more than {MOST / 1e6} MB: lower QUALITY, or take fewer")


if __name__ == "__main__":
    main()
