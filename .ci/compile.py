"""Compile the tests, and what they import, while `make test` does so for the first time: it begins at the other end.

To collect tests leaves the bytecode of them and of what they import on disk. Hypothesis also writes down its table of
Unicode.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def main() -> None:
    """Compile; what fails here fails again, and says so, when the tests run."""
    files = sorted(map(str, Path("tests").rglob("test_*.py")), reverse=True)
    pytest.main(["--collect-only", "-qq", *files])
    from hypothesis import strategies

    strategies.text().validate()


if __name__ == "__main__":
    main()
