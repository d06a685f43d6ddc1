"""What handlers reach without a queue, and the share of it that a client reaches, as the benchmarks show them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import notes
import pytest
from clients import CLIENTS
from figures import alone, beside_alone, share
from notes import Note
from run import with_alone
from scenarios import ALONE, COLD, GROUP, GROUPS, MANY, NOOP, WAIT
from tables import in_text, table

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = Path(__file__).parents[2] / "benchmarks" / "field" / "peers"


def one_after_another(count: int, *, lanes: int, seconds: float, began: float = 100.0) -> Iterator[Note]:
    """Notes of handlers that are called again and again, in so many lanes."""
    for index in range(count):
        start = began + index // lanes * seconds
        yield Note(start, start + seconds, 1, 1)


def test_the_rules_allow_what_is_written_in_the_limits_of_fifo_queues() -> None:
    assert GROUP.allowed(0.02, 0.01) == pytest.approx(10 / 0.21)
    assert GROUPS.allowed(0.02, 0.01) == pytest.approx(100 / 0.21)
    assert MANY.allowed(0.02, 0.01) == WAIT.allowed(0.02, 0.01) == pytest.approx(5_000)
    assert (GROUP.at_once, GROUPS.at_once, MANY.at_once, WAIT.at_once) == (1, 10, 100, 100)


def test_handlers_and_calls_that_take_longer_alone_allow_less() -> None:
    one = alone(GROUP, list(one_after_another(50, lanes=1, seconds=0.021)), [0.013, 0.011, 0.5])
    assert one["handler_ms"] == pytest.approx(21.0)
    assert one["call_ms"] == pytest.approx(13.0)  # one call in a busy moment of the machine changes nothing
    assert one["allowed_here"] == pytest.approx(10 / 0.223)
    assert one["rate"] == pytest.approx(1 / 0.021)
    many = alone(MANY, list(one_after_another(1_000, lanes=100, seconds=0.025)), [0.011])
    assert many["rate"] == many["allowed_here"] == pytest.approx(4_000)


def test_both_shares_of_a_client_are_shown() -> None:
    finished = [*one_after_another(1_000, lanes=100, seconds=0.025)]
    figures = {"rate": 3_800.0} | share(MANY, {"rate": 3_800.0}) | beside_alone(finished, 3_800.0, 4_000.0)
    assert figures["share"] == pytest.approx(0.76)  # of 5,000, whatever this machine allows
    assert figures["share_here"] == pytest.approx(0.95)
    shown = in_text(table("K1K", {"leasekeeper-async": [figures]}))
    assert "% of what the rules allow" in shown
    assert " 76.0 " in shown
    assert " 95.0 " in shown


def test_the_middle_leaves_out_the_start_and_the_end() -> None:
    slow = [Note(50.0 + i, 50.02 + i, 1, 1) for i in range(10)]
    quick = [Note(100.0 + i * 0.01, 100.02 + i * 0.01, 1, 1) for i in range(81)]
    late = [Note(200.0 + i, 200.02 + i, 1, 1) for i in range(9)]
    figures = beside_alone([*slow, *quick, *late], 0.7, 125.0)
    assert figures["middle_rate"] == pytest.approx(100.0)
    assert figures["middle_share_here"] == pytest.approx(0.8)
    assert figures["handler_ms"] == pytest.approx(20.0)


def test_a_run_that_did_not_finish_has_no_middle_and_one_without_its_handlers_alone_no_share_of_them() -> None:
    ended = list(one_after_another(100, lanes=10, seconds=0.02))
    assert beside_alone([*ended, Note(0.0, 0.0, 0, 0)], 10.0, 100.0) == {}
    assert "share_here" not in beside_alone(ended, 10.0, None)


def test_handlers_alone_are_measured_with_the_clients_of_their_kind() -> None:
    assert with_alone(["leasekeeper-async"], [NOOP, MANY]) == ["no-queue-async", "leasekeeper-async"]
    assert with_alone(["boto3-1", "no-queue-threads"], [GROUP]) == ["boto3-1", "no-queue-threads"]
    assert with_alone(["leasekeeper-async"], [NOOP, COLD]) == ["leasekeeper-async"]
    assert not with_alone([], [MANY])  # all clients are measured then, these too
    assert [name for name, client in CLIENTS.items() if client.alone] == [*ALONE]


@pytest.mark.parametrize("name", ALONE)
def test_handlers_alone_are_called_once_for_each_message_without_any_library(name: str, tmp_path: Path) -> None:
    client, scenario = CLIENTS[name], replace(MANY, handler="noop", messages=40, concurrency=4)
    file = tmp_path / "notes"
    notes.blank(file, scenario.messages)
    environment = {
        "BENCH_CONCURRENCY": str(scenario.concurrency),
        "BENCH_HANDLER": scenario.handler,
        "BENCH_MESSAGES": str(scenario.messages),
        "BENCH_NOTES": str(file),
        "BENCH_SECONDS": "0.0",
        **dict.fromkeys(("BENCH_ENDPOINT", "BENCH_QUEUE", "BENCH_QUEUE_URL", "AWS_DEFAULT_REGION"), "unused"),
        "BENCH_VISIBILITY": "30",
        **client.settings,
    }
    done = subprocess.run(
        [sys.executable, PEERS / client.file, "run"], env=os.environ | environment, check=True, capture_output=True
    )
    assert not done.stderr
    noted = notes.read(file)
    assert [(note.starts, note.finishes) for note in noted] == [(1, 1)] * scenario.messages
    assert all(0 < note.started <= note.finished for note in noted)


def test_nothing_of_ours_is_in_the_process_of_handlers_alone() -> None:
    for name in ("no_queue", "handling", "asked"):
        for node in ast.walk(ast.parse((PEERS / f"{name}.py").read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [module for module in modules if module.startswith(("leasekeeper", "boto"))]
