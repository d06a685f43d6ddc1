"""Results: the raw figures of every run, by scenario and client, in a file outside version control.

A session replaces the figures that it measured and keeps the others. The runs of each client carry the machine, the
date and the revision of this project.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clients import Client
    from figures import Figures

FOLDER = Path(__file__).resolve().parents[1] / ".results"
"""Where measurements are written; git ignores it."""
RESULTS = FOLDER / "results.json"


def load(file: Path | None) -> dict[str, Any]:
    """The contents of a file: `clients` with versions, `scenarios` with machine, date and runs."""
    if file and file.exists():
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept
    return {"clients": {}, "scenarios": {}}


def describe(results: dict[str, Any], client: Client, versions: Mapping[str, str]) -> None:
    """Record a client's properties and versions."""
    results["clients"][client.name] = {
        "kind": client.kind,
        "loop": client.loop,
        "produces": client.produces,
        "most": client.most,
        "concurrency": client.concurrency,
        "remark": client.remark,
        "versions": dict(versions),
    }


def keep(results: dict[str, Any], letter: str, runs: Mapping[str, Sequence[Figures]]) -> None:
    """Replace a scenario's runs of these clients."""
    scenario = results["scenarios"].setdefault(letter, {"runs": {}, "measured": {}})
    origin = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "revision": revision(), **machine()}
    scenario["measured"].update(dict.fromkeys(runs, origin))
    scenario["runs"].update({name: list(each) for name, each in runs.items()})


def save(results: dict[str, Any], file: Path) -> None:
    """Write the results to a file; its folder is made if needed."""
    text = json.dumps(results, indent=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def revision() -> str:
    """The revision of the project under test."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    """The machine this runs on: processor, cores, kernel and Python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    kernel = platform.release().partition("-")[0]
    return {"cpu": model, "cores": os.cpu_count(), "kernel": kernel, "python": platform.python_version()}
