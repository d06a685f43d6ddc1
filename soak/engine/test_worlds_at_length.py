"""More simulated worlds than the suite has time for, of other seeds.

`LEASEKEEPER_WORLDS=2000 pytest soak/engine/test_worlds_at_length.py` runs that many, and `LEASEKEEPER_FIRST_WORLD` says
with which seed they begin.
"""

from __future__ import annotations

import os

import pytest
from fifo_conditions import Kind
from seeds import run_batches, run_fifo, run_standard

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "64"))
FIRST = int(os.environ.get("LEASEKEEPER_FIRST_WORLD", "100000"))
IN_A_TEST = 4


@pytest.mark.parametrize("first", range(FIRST, FIRST + WORLDS // 8, IN_A_TEST))
def test_no_world_breaks_the_lease_contract(first: int) -> None:
    """L1-L29: of a seed there are eight worlds: two of single messages, two of batches, four of a FIFO queue."""
    for seed in range(first, first + IN_A_TEST):
        for faulty in (False, True):
            run_standard(seed, faulty=faulty)
            run_batches(seed, faulty=faulty)
        for kind in Kind:
            run_fifo(seed, kind)
