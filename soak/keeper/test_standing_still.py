"""Consumers with a keeper that keep the GIL, or that are stopped, for three visibility timeouts."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kept_bench import KeptBench


def test_regex_a_call_that_keeps_the_gil_for_three_visibilities_costs_no_lease(bench: KeptBench) -> None:
    """L9: no engine can extend meanwhile. The keeper does, and the engine takes its deadlines over."""
    bench.fill(2)
    bench.sqs.start()
    program = bench.start("""
        import ctypes
        hold = ctypes.PyDLL(None).usleep

        def handle(body: str) -> None:
            note("running")
            if body == "0":
                hold(6_500_000)
            time.sleep(1)
            note("done")

        consumer = Consumer("orders", handle, keeper=True, visibility_timeout=2, concurrency=2)
        consumer.start()
        while consumer.statistics().ledger.acked < 2:
            time.sleep(0.1)
        print("report", consumer.stop().result().lost)
    """)
    bench.until(lambda: program.said("running"), "it runs")
    seen: list[str] = []
    bench.watch(seen, lambda: program.said("report"), "it has ended")
    assert seen == []
    assert program.said("report 0") == 1, program.out
    assert (program.said("running"), program.said("done")) == (2, 2)


def test_stop_a_consumer_that_stood_still_for_three_visibilities_has_lost_nothing(bench: KeptBench) -> None:
    """A stopped process (SIGSTOP) is resumed: none of its messages was received elsewhere, and each is acked once."""
    bench.fill(6)
    bench.sqs.start()
    program = bench.start("""
        def handle(body: str) -> None:
            note("running")
            while not os.path.exists("go"):
                time.sleep(0.02)

        consumer = Consumer(
            "orders", handle, keeper=True, visibility_timeout=2, concurrency=3, prefetch=3, receive_batch=3,
            throttle=False,
        )
        consumer.start()
        while consumer.statistics().ledger.acked < 6:
            time.sleep(0.05)
        print("report", consumer.stop().result().lost)
    """)
    bench.until(lambda: program.said("running") == 3, "three run")
    bench.until(lambda: bench.counts() == (0, 6), "all are held")
    program.signal(signal.SIGSTOP)
    stopped, seen = time.monotonic(), list[str]()
    bench.watch(seen, lambda: time.monotonic() > stopped + 6.2, "three visibilities pass")
    program.signal(signal.SIGCONT)
    (bench.directory / "go").touch()
    bench.watch(seen, lambda: program.said("report"), "it has ended")
    assert seen == []
    assert program.said("report 0") == 1, program.out
    assert program.said("running") == 6
