"""Soak tests: what takes tens of seconds because real processes, browsers and load are in it. `make soak` runs them."""

from __future__ import annotations

pytest_plugins = ["pieces"]
