"""What all tests share: how property tests draw their examples, and how many workers run the tests.

Property tests draw the same examples every time; `LEASEKEEPER_EXPLORE=1 make test` draws new ones, and many more.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("explore" if os.environ.get("LEASEKEEPER_EXPLORE") else "same")


# The two hooks below are pytest-xdist's; without it the tests run one after another.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core, 16 at most: many tests wait for processes and sockets."""
    return min(2 * (os.cpu_count() or 1), 16)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Any worker takes any test, but one worker takes all conformance tests of a server: it starts the server once."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            of_a_server = re.match(r"tests/conformance/.*?\[(\w+)", nodeid)
            return of_a_server[1] if of_a_server else nodeid

    return Scheduler(config, log)
