"""How late the engine's loop is while threads compute: `python benchmarks/keeper/lag.py 1 8 32 64 100`.

For each number of threads and each switch interval of Python, it prints the median, the 95th percentile and the longest
delay of a timer of 10 ms, in milliseconds, and the loops that the threads did.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time

INTERVALS = (0.005, 0.001, 0.0005)
SECONDS = 3.0
TIMER = 0.01


def _spin(stop: threading.Event, loops: list[int], index: int) -> None:
    while not stop.is_set():
        for _ in range(1_000):
            pass
        loops[index] += 1_000


async def _lags() -> list[float]:
    lags, until = [], time.monotonic() + SECONDS
    while (now := time.monotonic()) < until:
        await asyncio.sleep(TIMER)
        lags.append(max(0.0, time.monotonic() - now - TIMER))
    return sorted(lags)


def _measure(threads: int, interval: float) -> str:
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    stop, loops = threading.Event(), [0] * threads
    spinning = [threading.Thread(target=_spin, args=(stop, loops, index)) for index in range(threads)]
    try:
        for thread in spinning:
            thread.start()
        lags = asyncio.run(_lags())
    finally:
        stop.set()
        for thread in spinning:
            thread.join()
        sys.setswitchinterval(before)
    median, late, longest = lags[len(lags) // 2], lags[int(len(lags) * 0.95)], lags[-1]
    return f"{median * 1e3:.0f}/{late * 1e3:.0f}/{longest * 1e3:.0f} ({sum(loops) / 1e6 / SECONDS:.0f} M loops/s)"


def main() -> None:
    """Measure, and print a line for each number of threads."""
    counts = [int(each) for each in sys.argv[1:]] or [1, 8, 32, 64, 100]
    print("threads  " + "  ".join(f"{interval * 1e3:g} ms" for interval in INTERVALS))
    for threads in counts:
        print(f"{threads:7}  " + "  ".join(_measure(threads, interval) for interval in INTERVALS), flush=True)


if __name__ == "__main__":
    main()
