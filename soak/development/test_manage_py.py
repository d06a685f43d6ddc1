"""`manage.py leasekeeper` of the example project, as a process: consumers with the database, and tasks over SQS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2] / "examples" / "django_shop"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with LocalSqs() as sqs:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs.endpoint_url)
        yield boto3.client("sqs")


def test_it_runs_consumers_and_tasks_and_drains(client: Any, tmp_path: Path) -> None:
    urls = {name: client.create_queue(QueueName=name)["QueueUrl"] for name in ("orders", "shop-default", "shop-urgent")}
    client.send_message(QueueUrl=urls["orders"], MessageBody="tea")
    task = {"task": "shop.tasks.add", "id": "1", "args": [3, 4], "kwargs": {"note": "by manage.py"}}
    client.send_message(QueueUrl=urls["shop-default"], MessageBody=json.dumps(task))
    process = subprocess.Popen(
        [sys.executable, "manage.py", "leasekeeper", "--wait-time", "1"],
        cwd=PROJECT,
        env={**os.environ, "SHOP_DB": str(tmp_path / "shop.sqlite3")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    missing, lines = {"stored tea\n", "added 7 by manage.py\n"}, []
    for line in process.stdout:
        lines.append(line)
        missing.discard(line)
        if not missing:
            process.terminate()
    assert process.wait(60) == 0, "".join(lines)
    process.stdout.close()
    assert missing == set()
