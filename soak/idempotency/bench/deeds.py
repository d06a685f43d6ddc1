"""A handler that worker processes import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def work(body: dict[str, Any]) -> None:
    """A line in a file."""
    with Path(os.environ["DEEDS"]).open("a") as file:
        file.write(f"{body['id']}\n")
