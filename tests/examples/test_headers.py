"""Every example says how to start it, in the same form: its folder, a server with its queues, itself, a message."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from example_kit import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

ALL = [*sorted(EXAMPLES.glob("*.py")), EXAMPLES / "django_shop" / "manage.py"]
SERVER = "export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS"
QUEUE = re.compile(r'(?:consumer|Consumer|Sender)\("([\w.-]+)"')


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_an_example_says_how_to_start_it(path: Path) -> None:
    code = path.read_text()
    *_, commands = (ast.get_docstring(ast.parse(code)) or "").split("\n\n")
    first, *lines = commands.splitlines()
    assert first == f"cd {path.parent.relative_to(EXAMPLES.parent)}"
    if "LocalSqs" not in code:
        local, endpoint, *lines = lines
        assert set(QUEUE.findall(code)) <= set(re.findall(r"--queue ([\w.-]+)", local))
        assert (local[:18], local[-2:], endpoint) == ("leasekeeper local ", " &", SERVER)
    started = rf"(python {path.name}|(leasekeeper run|uvicorn) {path.stem}:(app|web))\b"
    assert any(re.search(started, line) for line in lines)
    assert all(re.match(r"(leasekeeper|python|uvicorn|curl|pip install|[A-Z_]+=\S+ python) ", line) for line in lines)
