"""Five real processes on one page: each is there, dead letters are looked at and moved back, and the doctor is run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stage import Opener

TOKEN = "open-sesame"
PROCESSES = 5
SHOP = """
import asyncio
from leasekeeper import Leasekeeper, Message, Reject

app = Leasekeeper(concurrency=4, visibility_timeout=30)

@app.consumer("orders")
async def ship(message: Message[dict]) -> None:
    await asyncio.sleep(0.2)
    if message.body["number"] % 10 == 0:
        raise Reject("no such customer: <b>")
"""


def call(sqs: LocalSqs, operation: str, **members: Any) -> Any:
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    with urllib.request.urlopen(urllib.request.Request(sqs.endpoint_url, json.dumps(members).encode(), headers)) as got:
        return json.loads(got.read() or "{}")


def count(sqs: LocalSqs, queue: str) -> tuple[int, int]:
    """Visible and hidden messages."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    found = call(sqs, "GetQueueAttributes", QueueUrl=queue, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


@contextmanager
def fleet(sqs: LocalSqs, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A supervisor with its processes, and the address of their page."""
    (folder / "shop.py").write_text(SHOP)
    flags = ("--processes", str(PROCESSES), "--admin", "127.0.0.1:0", "--queue-interval", "1")
    connection = ("--endpoint-url", sqs.endpoint_url, "--region", "us-east-1")
    variables = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "LEASEKEEPER_ADMIN_TOKEN": TOKEN}
    running = subprocess.Popen(
        [sys.executable, "-m", "leasekeeper", "run", "shop:app", *flags, *connection],
        cwd=folder,
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    try:
        said = []
        for line in running.stderr:
            said.append(line)
            if found := re.search(r"the admin surface of all processes: (http://\S+)", line):
                yield running, found[1]
                return
        raise AssertionError("".join(said))
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)


def test_five_processes_on_one_page_with_their_dead_letters_and_the_doctor(tab: Opener, tmp_path: Path) -> None:
    with LocalSqs() as sqs:
        call(sqs, "CreateQueue", QueueName="orders-dead")
        policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:orders-dead", "maxReceiveCount": 5}
        call(sqs, "CreateQueue", QueueName="orders", Attributes={"RedrivePolicy": json.dumps(policy)})
        for start in range(0, 300, 10):
            entries = [{"Id": str(n), "MessageBody": json.dumps({"number": n})} for n in range(start, start + 10)]
            call(sqs, "SendMessageBatch", QueueUrl="orders", Entries=entries)
        with fleet(sqs, tmp_path) as (running, url):
            page = tab(url)
            expect(page.locator(".which")).to_have_text(f"{PROCESSES} processes", timeout=30_000)
            expect(page.locator(".bar .pill").first).to_contain_text("RUNNING", timeout=30_000)

            page.goto(f"{url}/?consumer=orders&tab=dead-letters")
            page.get_by_role("button", name="Look at up to 10…").click(timeout=30_000)
            page.locator("#token").fill(TOKEN)
            page.locator("#do").click()
            card = page.locator(".cards .card").first
            expect(card).to_contain_text("no such customer: <b>", timeout=15_000)
            card.get_by_role("button", name="Show the body").click()
            expect(card.locator("pre")).to_contain_text('"number"')

            page.locator("#tab-doctor").click()
            page.get_by_role("button", name="Run the doctor…").click()
            page.locator("#do").click()
            expect(page.locator(".findings").last).to_contain_text("credentials", timeout=30_000)
            expect(page.locator(".findings").last).to_contain_text("redrive policy")

            running.send_signal(signal.SIGTERM)  # with the page's stream open
            assert running.wait(30) == 0
        assert count(sqs, "orders")[1] == 0
