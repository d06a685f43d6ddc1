"""The page of the local server in a browser: queues, messages, sending, purging, faults, the log."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import Opener

DEAD = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:orders-dead", "maxReceiveCount": 1}


class Sqs:
    """The local server, as a client of SQS sees it."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.page = f"{endpoint_url}/_leasekeeper/"

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
        request = urllib.request.Request(self.endpoint_url, json.dumps(members).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"{}")  # type: ignore[no-any-return]

    def receives(self, queue: str) -> list[int]:
        with urllib.request.urlopen(f"{self.page}state?queue={queue}") as answer:
            return [each["receives"] for each in json.load(answer)["messages"].values()]


@pytest.fixture
def sqs() -> Iterator[Sqs]:
    with LocalSqs() as server:
        sqs = Sqs(server.endpoint_url)
        sqs.call("CreateQueue", QueueName="orders-dead")
        sqs.call("CreateQueue", QueueName="orders", Attributes={"RedrivePolicy": json.dumps(DEAD)})
        yield sqs


def test_messages_are_sent_listed_shown_and_purged(tab: Opener, sqs: Sqs) -> None:
    page = tab(sqs.page)
    page.locator(".queue-card a").get_by_text("orders", exact=True).click()
    assert "queue=orders" in page.url

    page.locator("#draft").fill('{"id": 1}')
    page.locator("#send").click()
    expect(page.locator(".messages tbody")).to_have_count(1)
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".messages pre")).to_contain_text('"id": 1')
    assert sqs.receives("orders") == [0]
    page.get_by_role("button", name="Purge…").click()
    expect(page.locator("dialog.confirm")).to_contain_text("1 message is deleted for good")
    page.locator("#do").click()
    expect(page.locator(".queue-view .empty")).to_contain_text("The queue is empty.")


def test_dead_letters_are_redriven(tab: Opener, sqs: Sqs) -> None:
    sqs.call("SendMessage", QueueUrl="orders", MessageBody="poison")
    for _ in range(2):
        sqs.call("ReceiveMessage", QueueUrl="orders", VisibilityTimeout=0)
    page = tab(f"{sqs.page}?queue=orders-dead")

    expect(page.locator(".queue-card .warn")).to_contain_text("dead letters")
    page.get_by_role("button", name="Redrive…").click()
    expect(page.locator("dialog.confirm")).to_contain_text("goes back to orders")
    page.locator("#do").click()
    expect(page.locator(".queue-view .empty")).to_contain_text("The queue is empty.")
    assert sqs.receives("orders") == [0]


def test_a_fault_is_switched_on_strikes_and_is_seen_in_the_log(tab: Opener, sqs: Sqs) -> None:
    page = tab(sqs.page)
    throttle = page.get_by_role("switch", name="throttle")
    throttle.click()
    expect(throttle).to_have_attribute("aria-checked", "true")
    expect(page.locator(".fault.on")).to_contain_text("10 % of calls are refused with RequestThrottled")
    page.get_by_label("throttle in %").fill("100")
    page.keyboard.press("Tab")
    expect(page.locator(".fault.on")).to_contain_text("100 % of calls")

    with pytest.raises(urllib.error.HTTPError):
        sqs.call("ReceiveMessage", QueueUrl="orders")
    expect(page.locator(".log .failed")).to_contain_text("RequestThrottled")
    expect(page.locator(".fault.on")).to_contain_text("1 call so far")
    page.get_by_role("button", name="All off").click()
    expect(page.locator(".fault.on")).to_have_count(0)
    assert sqs.call("ReceiveMessage", QueueUrl="orders") == {}


def test_a_queue_is_created_and_hostile_bodies_and_groups_are_text(tab: Opener, sqs: Sqs) -> None:
    page = tab(sqs.page, width=380, scheme="dark")
    page.locator("#new").press_sequentially("people.fifo")
    page.locator("#new").press("Enter")
    expect(page.locator("h1")).to_have_text("people.fifo")

    hostile = "<img src=x onerror=alert(1)>"
    page.locator("#draft").fill(hostile)
    page.get_by_label("message group").fill("g" * 128)
    page.locator("#send").click()
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".messages pre")).to_have_text(hostile)
    assert page.locator("#app img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_server_that_ends_is_said_to_be_gone(tab: Opener) -> None:
    with LocalSqs() as server:
        page = tab(f"{server.endpoint_url}/_leasekeeper/")
        expect(page.locator(".status.live")).to_be_visible()
    expect(page.locator(".reason.stale")).to_contain_text("The server has ended.", timeout=15_000)


def test_calls_and_messages_of_others_appear_by_themselves(tab: Opener, sqs: Sqs) -> None:
    page = tab(f"{sqs.page}?queue=orders")
    expect(page.locator(".queue-view .empty")).to_contain_text("The queue is empty.")
    assert page.locator(".queue-card h2").all_inner_texts() == ["orders", "orders-dead"]  # created the other way round

    sqs.call("SendMessage", QueueUrl="orders", MessageBody="hello")

    expect(page.locator(".messages tbody")).to_have_count(1)
    expect(page.locator(".log")).to_contain_text("SendMessage")
    kinds = "performance.getEntriesByType('resource').map(each => each.name.split('/').pop().split('?')[0])"
    assert "state" not in page.evaluate(kinds)  # nothing is polled


def test_the_field_for_a_new_queue_is_wide_enough_on_a_phone(tab: Opener, sqs: Sqs) -> None:
    page = tab(sqs.page, width=390)
    page.wait_for_selector("#new")
    assert page.eval_on_selector("#new", "field => field.clientWidth") > 200
