"""Threads that compute for three visibilities: whatever the engine's thread gets of the GIL, no lease is lost.

`LEASEKEEPER_SOAK_THREADS=32,100` chooses how many threads.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kept_bench import KeptBench

THREADS = [int(each) for each in os.environ.get("LEASEKEEPER_SOAK_THREADS", "32").split(",")]
VISIBILITY = 5
SPIN = 3.0 * VISIBILITY


@pytest.mark.parametrize("threads", THREADS)
def test_starve_no_message_of_threads_that_compute_comes_back(bench: KeptBench, threads: int) -> None:
    """L9."""
    bench.fill(threads)
    bench.sqs.start()
    program = bench.start(f"""
        def handle(message: Message[str]) -> None:
            note(f"start {{message.receive_count}}")
            until = time.monotonic() + {SPIN}
            while time.monotonic() < until:
                sum(range(1000))
            note("done")

        consumer = Consumer(
            "orders", handle, keeper=True, concurrency={threads}, threads={threads}, visibility_timeout={VISIBILITY},
        )
        consumer.start()
        while consumer.statistics().ledger.acked < {threads}:
            time.sleep(0.5)
        report = consumer.stop().result()
        print("lag", consumer.statistics().longest_lag)
        print("report", report.lost)
    """)
    bench.until(lambda: program.said("start"), "they run")
    visible = [threads]

    def ended() -> bool:
        visible.append(bench.counts()[0])
        return bool(program.said("report"))

    bench.until(ended, "they have run", within=300)
    assert visible == sorted(visible, reverse=True), "a message came back"
    assert program.said("report 0") == 1, program.out[-500:] + program.err[-2000:]
    assert program.said("start 1") == program.said("done") == threads
