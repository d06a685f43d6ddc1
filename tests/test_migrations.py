"""The code of the migration pages, run as it stands on the page: what was before, and what it becomes, in virtual time.

Two of the four programs before are only compiled (`tests/test_snippets.py`): Celery and sqs-workers, with what they
need, would be 30 packages for one test each. `benchmarks/field` installs and runs both libraries.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import boto3
import pytest

from leasekeeper.local import LocalSqs
from leasekeeper.testing.trial import Trial
from leasekeeper.testing.world import virtual

PAGES = Path(__file__).parents[1] / "docs/how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Unavailable(Exception):
    """What the page's `deliver` raises while its service is down."""


class Delivery:
    """The page's `deliver` or `ship`: notes what it is called with, and fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._failures = failures

    def __call__(self, *arguments: object) -> None:
        self.calls.append(arguments)
        if len(self.calls) <= self._failures:
            raise Unavailable


def made(page: str, number: int, **names: Any) -> dict[str, Any]:
    """What a block of a page defines. Its last line is left out where it would run for ever."""
    tree = ast.parse(BLOCK.findall((PAGES / page).read_text())[number])
    last = tree.body[-1]
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and ast.unparse(last.value).endswith(".run()"):
        assert isinstance(last.value.func, ast.Attribute)
        tree.body[-1] = ast.Assign([ast.Name("consumer", ast.Store())], last.value.func.value)
    namespace: dict[str, Any] = {"__name__": "page", **names}
    exec(compile(ast.fix_missing_locations(tree), page, "exec"), namespace)
    return namespace


class Interrupted(BaseException):
    """Ends the page's endless loop."""


@pytest.mark.slow
def test_the_boto3_loop_of_the_page_handles_and_deletes_one_message_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LocalSqs() as sqs:
        for name, value in {
            "AWS_ENDPOINT_URL_SQS": sqs.endpoint_url,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("sqs")
        url = client.create_queue(QueueName="orders")["QueueUrl"]
        for number in range(3):
            client.send_message(QueueUrl=url, MessageBody=f'{{"id": {number}}}')
        seen: list[dict[str, int]] = []

        def ship(order: dict[str, int]) -> None:
            seen.append(order)
            if len(seen) == 3:
                raise Interrupted

        with pytest.raises(Interrupted):
            made("migrate-boto3.md", 0, ship=ship)
        counts = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        client.close()
    assert sorted(order["id"] for order in seen) == [0, 1, 2]
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "1", "the message that raised stays hidden"
    assert counts["ApproximateNumberOfMessages"] == "0"


@virtual
async def test_a_boto3_loop_becomes_a_consumer(capsys: pytest.CaptureFixture[str]) -> None:
    async with Trial(made("migrate-boto3.md", 1)["consumer"]) as trial:
        await trial.send("orders", {"id": 7})
        await trial.settled()
    assert capsys.readouterr().out == "shipping 7\n"


@virtual
async def test_a_celery_task_becomes_a_handler_with_the_same_retries() -> None:
    deliver = Delivery(failures=2)
    app = made("migrate-celery.md", 1, deliver=deliver, Unavailable=Unavailable)["app"]
    async with Trial(app) as trial:
        await trial.send("ship", 7)
        await trial.advance(seconds=59)
        assert deliver.calls == [(7,)]
        await trial.advance(seconds=62)
        assert deliver.calls == [(7,)] * 3
        await trial.settled()
        assert trial.dead_letters("ship") == []


@virtual
async def test_a_task_that_keeps_failing_runs_as_often_as_in_celery_and_becomes_a_dead_letter() -> None:
    """Celery's `max_retries=5` counts what comes after the first run: six runs."""
    deliver = Delivery(failures=100)
    app = made("migrate-celery.md", 1, deliver=deliver, Unavailable=Unavailable)["app"]
    async with Trial(app, max_receives=20) as trial:
        await trial.send("ship", 7)
        await trial.settled()
        assert deliver.calls == [(7,)] * 6
        assert trial.dead_letters("ship") == ["7"]


def test_the_lambda_handler_of_the_page_fails_message_by_message() -> None:
    ship = Delivery(failures=1)
    handler = made("migrate-lambda.md", 0, ship=ship)["lambda_handler"]
    records = [{"messageId": name, "body": '{"id": 1}'} for name in ("a", "b")]
    assert handler({"Records": records}, None) == {"batchItemFailures": [{"itemIdentifier": "a"}]}


@virtual
async def test_a_lambda_function_becomes_a_handler(capsys: pytest.CaptureFixture[str]) -> None:
    async with Trial(made("migrate-lambda.md", 1)["app"]) as trial:
        await trial.send("orders", {"id": 7}, {"id": 8})
        await trial.settled()
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "shipping 7", "shipping 8"]


@virtual
async def test_a_processor_of_sqs_workers_becomes_a_handler_of_the_same_job() -> None:
    deliver = Delivery()
    async with Trial(made("migrate-sqs-workers.md", 1, deliver=deliver)["app"]) as trial:
        body = {"order_id": 7, "express": True}
        await trial.send("orders", body, attributes={"JobName": "ship"})
        await trial.settled()
    assert deliver.calls == [(7, True)]
