"""`leasekeeper new`: what it writes passes its own tests, also under faults, and has manifests."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "AWS_DEFAULT_REGION": "eu-west-1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def test_a_new_service_passes_its_tests_and_has_manifests(tmp_path: Path) -> None:
    made = run(tmp_path, "leasekeeper", "new", "order-mails", "--queue", "mails")
    assert made.returncode == 0, made.stderr
    assert "leasekeeper run order_mails.service:app --local" in made.stdout
    service = tmp_path / "order-mails"
    files = {str(each.relative_to(service)) for each in service.rglob("*") if each.is_file()}
    assert {
        ".gitignore",
        "Dockerfile",
        "README.md",
        "deploy/ecs-task-definition.json",
        "deploy/kubernetes.yaml",
        "order_mails/__init__.py",
        "order_mails/service.py",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/test_service.py",
    } <= files
    assert "$" not in (service / "order_mails" / "service.py").read_text()
    assert "mails" in (service / "deploy" / "kubernetes.yaml").read_text()
    tests = run(service, "pytest", "-q", "-p", "no:cacheprovider", "--leasekeeper-faults")
    assert tests.returncode == 0, tests.stdout
    assert "4 passed" in tests.stdout
    options = run(service, "leasekeeper", "options", "order_mails.service:app")
    assert "20    file pyproject.toml [tool.leasekeeper.queues.mails]" in options.stdout
