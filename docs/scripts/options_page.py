"""Write docs/reference/options.md from the schema of options: `python docs/scripts/options_page.py`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from leasekeeper.options import CHOICES, Options

PAGE = Path(__file__).parents[1] / "reference" / "options.md"
HEAD = """# Options

Arguments of `Consumer(queue, handler, ...)`, of `Leasekeeper(...)` for all its consumers and of
`@app.consumer(queue, ...)`; or one `Options` object. On the command line `concurrency` is `--concurrency`, in the
environment `LEASEKEEPER_CONCURRENCY`, in TOML `concurrency` under `[tool.leasekeeper]`; a flag goes before the
environment, that before a file, that before code. Those marked *code only* cannot be written as text.

This page is written by `docs/scripts/options_page.py` from the schema in `leasekeeper/options.py`.

| option | default | what it is |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(each) for each in dataclasses.fields(Options))


def _row(option: dataclasses.Field[Any]) -> str:
    told = option.metadata
    default = "the logger `leasekeeper`" if option.name == "logger" else _shown(option.default)
    bounds = _bounds(told["low"], told["high"], " s" if told["unit"] == "s" else "")
    choices = " or ".join(f"`{each}`" for each in CHOICES.get(option.name, ()))
    notes = ", ".join(each for each in (choices, bounds, "" if told["configurable"] else "*code only*") if each)
    return f"| `{option.name}` | {default} | {told['doc']}{f' ({notes})' if notes else ''} |\n"


def _shown(default: Any) -> str:
    if default is None:
        return "unset"
    if default == ():
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _bounds(low: float | None, high: float | None, unit: str) -> str:
    if low is None and high is None:
        return "seconds" if unit else ""
    if high is None:
        return f"{low:,g}{unit} or more"
    return f"{low:,g} to {high:,g}{unit}"


if __name__ == "__main__":
    PAGE.write_text(page())
