"""What all tests share: property tests draw the same examples every time, unless they are told to explore.

`LEASEKEEPER_EXPLORE=1 make test` draws new ones, and many more.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("explore" if os.environ.get("LEASEKEEPER_EXPLORE") else "same")
