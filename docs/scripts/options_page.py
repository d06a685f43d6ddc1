"""Write what the schema of options says: `python docs/scripts/options_page.py`.

It writes the reference page (`docs/reference/options.md`) and the keyword arguments that editors show on hover
(`src/leasekeeper/option_values.py`). A test keeps both up to date.
"""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

from leasekeeper.options import Options

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "options.md"
VALUES = ROOT / "src" / "leasekeeper" / "option_values.py"
HEAD = """# Options

These are the arguments of `Consumer(queue, handler, ...)`, of `Leasekeeper(...)` for all its consumers, and of
`@app.consumer(queue, ...)`. One `Options` object can hold them too.

Outside the code, `concurrency` is the flag `--concurrency`, the variable `LEASEKEEPER_CONCURRENCY`, and the key
`concurrency` under `[tool.leasekeeper]` in TOML. A flag wins over the environment, the environment over a
file, and a file over code. Options marked *code only* cannot be written as text.

`docs/scripts/options_page.py` writes this page from the schema in `leasekeeper/options.py`.
"""
VALUES_HEAD = '''"""The keyword arguments of `Consumer` and of `Leasekeeper.consumer`, with the text that editors show.

Written by `docs/scripts/options_page.py` from the schema in `leasekeeper/options.py`; change that, then run the script.
"""

import logging
from collections.abc import Sequence
from typing import TypedDict

from leasekeeper.api import Credentials, CredentialsProvider, SqsApi
from leasekeeper.envelopes.choosing import Envelope
from leasekeeper.options import (
    BatchErrorPolicy,
    BatchGroups,
    BatchKey,
    Dispatch,
    ExhaustedPolicy,
    FifoAck,
    HttpClient,
    LaneKind,
    LeaseLossPolicy,
    Middleware,
    MiddlewareMaker,
    RejectPolicy,
    StartMethod,
    UnmatchedPolicy,
    Unstarted,
)
from leasekeeper.payload import PayloadsOption
from leasekeeper.retries import RetryPolicy
from leasekeeper.share import Share


class OptionValues(TypedDict, total=False):
    """The fields of `Options`, all optional. All times are in seconds."""
'''


def page() -> str:
    """The whole reference page."""
    lines, section = [HEAD], ""
    for option in dataclasses.fields(Options):
        if option.metadata["section"] != section:
            section = option.metadata["section"]
            lines.append(f"\n## {section}\n\n| option | default | what it does |\n|---|---|---|\n")
        notes = "; ".join([*_limits(option, code="`"), *([] if option.metadata["configurable"] else ["*code only*"])])
        doc = option.metadata["doc"].replace("|", r"\|")
        lines.append(f"| `{option.name}` | {_default(option)} | {doc}{f' ({notes})' if notes else ''} |\n")
    return "".join(lines)


def values() -> str:
    """The whole module of keyword arguments."""
    return VALUES_HEAD + "".join(_entry(option) for option in dataclasses.fields(Options))


def _entry(option: dataclasses.Field[Any]) -> str:
    facts = [f"Default: {_default(option).replace('`', '')}", *_limits(option, code="'")]
    text = f'"""{option.metadata["doc"]}\n\n{"; ".join(facts)}.\n"""'
    paragraphs = (textwrap.wrap(line, 116) or [""] for line in text.split("\n"))
    lines = [f"{option.name}: {option.type}", *(line for paragraph in paragraphs for line in paragraph), ""]
    return "\n" + textwrap.indent("\n".join(lines), "    ")


def _limits(option: dataclasses.Field[Any], *, code: str) -> list[str]:
    """Choices and bounds."""
    low, high, choices = (option.metadata[name] for name in ("low", "high", "choices"))
    limits = [" or ".join(f"{code}{choice}{code}" for choice in choices)] if choices else []
    return (
        limits
        if low is None
        else [*limits, f"{low:,g} to {high:,.15g}{' s' if option.metadata['unit'] == 's' else ''}"]
    )


def _default(option: dataclasses.Field[Any]) -> str:
    if option.name == "logger":
        return "the logger `leasekeeper`"
    if option.default is None:
        return "unset"
    if option.default == ():
        return "none"
    unit = " s" if option.metadata["unit"] == "s" else ""
    return f"`{option.default:g}`{unit}" if isinstance(option.default, float) else f"`{option.default}`{unit}"


if __name__ == "__main__":
    PAGE.write_text(page())
    VALUES.write_text(values())
