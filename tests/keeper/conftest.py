"""What the tests of the keeper share: `bench` and `fifo_bench`, on real processes."""

from __future__ import annotations

from kept_bench import bench, fifo_bench

__all__ = ["bench", "fifo_bench"]
