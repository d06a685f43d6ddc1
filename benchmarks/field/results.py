"""Results: the raw figures of every run, by scenario and client, in a file that is kept.

A session replaces what it measured, and nothing else; each client's runs say on which machine, when, and of which
revision of this project they are.
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

    from environments import Client
    from figures import Figures

RESULTS = Path(__file__).with_name("results.json")


def load(file: Path | None) -> dict[str, Any]:
    """What a file has: `clients` with their versions, `scenarios` with machine, date and runs; nothing without one."""
    if file and file.exists():
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept
    return {"clients": {}, "scenarios": {}}


def describe(results: dict[str, Any], client: Client, versions: Mapping[str, str]) -> None:
    """Keep what a client is, and its versions."""
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
    told = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "revision": revision(), **machine()}
    scenario["measured"].update(dict.fromkeys(runs, told))
    scenario["runs"].update({name: list(each) for name, each in runs.items()})


def save(results: dict[str, Any], file: Path) -> None:
    """Write it all."""
    text = json.dumps(results, indent=1)
    file.write_text(text + "\n")


def revision() -> str:
    """The revision of the project that is measured."""
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    """The machine this runs on, as far as it matters to a measurement."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    kernel = platform.release().partition("-")[0]
    return {"cpu": model, "cores": os.cpu_count(), "kernel": kernel, "python": platform.python_version()}
