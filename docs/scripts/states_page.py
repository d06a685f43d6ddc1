"""Write docs/internals/states.md from the tables of states: `python docs/scripts/states_page.py`.

The tables are the code's: `core/states.py` for a message, `core/phases.py` for a consumer. A test keeps the page up to
date.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import Enum
    from types import ModuleType

PAGE = Path(__file__).parents[1] / "internals" / "states.md"
HEAD = """# States

A message that is held is in exactly one state. Only the tables below change it; every other transition is an error in
Leasekeeper and raises. `docs/scripts/states_page.py` writes this page from the tables of the code.
"""
TABLES = (
    ("A message", "leasekeeper.core.states", "State", "Event"),
    ("A consumer", "leasekeeper.core.phases", "Phase", "Change"),
)
"""Heading, module, and the names of its enumerations: the states and the events that lead from one to the next."""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for table in TABLES for line in _drawn(*table))]) + "\n"


def _drawn(title: str, module_name: str, states_name: str, events_name: str) -> Iterator[str]:
    module = importlib.import_module(module_name)
    states, events = list(getattr(module, states_name)), list(getattr(module, events_name))
    table: dict[Enum, dict[Enum, Enum]] = module.TRANSITIONS
    yield f"## {title}\n"
    yield f"From `{module_name.replace('.', '/')}.py`.\n"
    yield "```mermaid\nstateDiagram-v2"
    yield f"    [*] --> {states[0].name}"
    yield from (f"    {line}" for state in states for line in _arrows(state, table.get(state, {})))
    yield "```\n"
    yield from _explained("state", states, module, states_name)
    yield from _explained("event", events, module, events_name)
    yield f"| | {' | '.join(event.name for event in events)} |"
    yield "|---" * (len(events) + 1) + "|"
    for state in states:
        if following := table.get(state):
            yield f"| **{state.name}** | {' | '.join(following[e].name if e in following else '' for e in events)} |"
    yield ""


def _arrows(state: Enum, following: dict[Enum, Enum]) -> Iterator[str]:
    """One arrow to each next state, with all events that lead there; an end has an arrow out."""
    events: dict[Enum, list[str]] = {}
    for event, target in following.items():
        events.setdefault(target, []).append(event.name)
    for target, names in events.items():
        yield f"{state.name} --> {target.name}: {', '.join(names)}"
    if not following:
        yield f"{state.name} --> [*]"


def _explained(kind: str, members: list[Any], module: ModuleType, name: str) -> Iterator[str]:
    texts = _texts(module, name)
    yield f"| {kind} | meaning |\n|---|---|"
    yield from (f"| {member.name} | {texts.get(member.name, '')} |" for member in members)
    yield ""


def _texts(module: ModuleType, name: str) -> dict[str, str]:
    """The text below each member of an enumeration."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    texts = {}
    for node, following in itertools.pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(following, ast.Expr):
            assert isinstance(following.value, ast.Constant)
            texts[node.targets[0].id] = " ".join(str(following.value.value).split())
    return texts


if __name__ == "__main__":
    PAGE.write_text(page())
