"""`leasekeeper new`: what it writes, and that it overwrites nothing. `soak` runs the tests of what it has written."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from leasekeeper.cli.new import new
from leasekeeper.errors import ConfigurationError


def test_a_service_is_written_with_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new("order-mails", queue="mails", manifests=False)
    service = tmp_path / "order-mails"
    files = {str(each.relative_to(service)) for each in service.rglob("*") if each.is_file()}
    assert files == {
        ".gitignore",
        "Dockerfile",
        "README.md",
        "order_mails/__init__.py",
        "order_mails/service.py",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/test_service.py",
    }
    assert '@app.consumer("mails")' in (service / "order_mails" / "service.py").read_text()
    assert '[tool.leasekeeper.queues."mails"]' in (service / "pyproject.toml").read_text()
    assert "--group-id" not in (service / "README.md").read_text()
    assert "$PATH" in (service / "Dockerfile").read_text()


def test_a_service_of_a_fifo_queue_sends_with_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new("shop", queue="mails.fifo", manifests=False)
    assert tomllib.loads(Path("shop/pyproject.toml").read_text())["tool"]["leasekeeper"]["queues"].keys() == {
        "mails.fifo"
    }
    command = """leasekeeper send mails.fifo '{"id": 1, "item": "tea"}' --group-id 1 --endpoint-url"""
    assert command in Path("shop/README.md").read_text()


def test_the_manifests_leave_no_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made of the app, which is imported for that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    new("parcel-mails", queue="mails")
    assert any((tmp_path / "parcel-mails" / "deploy").iterdir())
    assert list(tmp_path.rglob("__pycache__")) == []
    assert sys.dont_write_bytecode is False


@pytest.mark.parametrize(
    ("name", "queue", "sentence"),
    [
        ("shop", "orders", "shop exists and is not empty: give another name, or remove it"),
        ("Shop", "orders", "'Shop' is no name of a service"),
        ("order-", "orders", "'order-' is no name of a service"),
        ("a" * 51, "orders", "is no name of a service: use at most 50 small letters"),
        ("import", "orders", "'import' is the name of something of Python's: give another, e.g. import-service"),
        ("queue", "orders", "'queue' is the name of something of Python's: give another, e.g. queue-service"),
        ("depot", "a.b", "--queue='a.b': give the name of a queue: 1 to 80 letters, digits, - and _; a FIFO queue's"),
    ],
)
def test_nothing_is_overwritten_and_names_are_checked(
    name: str, queue: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "precious.txt").write_text("x")
    with pytest.raises(ConfigurationError) as refusal:
        new(name, queue=queue)
    assert sentence in str(refusal.value)
    assert [each.name for each in tmp_path.iterdir()] == ["shop"]
