"""The shape of the source: its modules import in one direction, and files and functions are of a size to be read."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
TREES = ("src", "benchmarks", "benchmarks/field", "benchmarks/field/peers")
"""Folders from which modules are imported by their names."""

LONGEST_FILE = 350
LONGEST_FUNCTION = 50
LONGER = {
    "src/leasekeeper/engine/runner.py __init__": 63,  # the engine is wired here
}
"""Files and functions that may be longer, and how long. Entries may only be lowered and removed."""
LISTS = {
    "src/leasekeeper/observe/catalogue.py",
    "src/leasekeeper/option_values.py",
    "src/leasekeeper/options.py",
}
"""Files that may have any length: lists of options and metrics, which are not read from top to bottom."""


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file; each file is read and parsed once."""
    return ast.parse(path.read_text())


def modules() -> dict[str, Path]:
    """Every module of the package and of the benchmarks by the name that imports it."""
    found: dict[str, Path] = {}
    for tree in TREES:
        folder = ROOT / tree
        for path in folder.rglob("*.py") if tree == "src" else folder.glob("*.py"):
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported_by(name: str, path: Path, names: set[str]) -> set[str]:
    """The modules that a module imports at any place, functions and annotations included."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    wanted: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            wanted |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package.split(".")[: 1 - node.level or None], node.module or ""]) if node.level else ""
            base = base.strip(".") or str(node.module)
            wanted |= {f"{base}.{each.name}" if f"{base}.{each.name}" in names else base for each in node.names}
    return (wanted & names) - {name}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, straight or by way of others."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            if (each := todo.pop()) not in seen:
                seen.add(each)
                todo += graph[each]
        return seen

    reached = {name: reach(name) for name in graph}
    groups = {tuple(sorted(b for b in reached[a] if a in reached[b])) for a in graph if a in reached[a]}
    return [list(group) for group in sorted(groups)]


def test_no_modules_import_each_other() -> None:
    """Not even in functions or for annotations: such modules can only be understood, tested and moved together."""
    found = modules()
    graph = {name: imported_by(name, path, set(found)) for name, path in found.items()}
    assert circles(graph) == []


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}) == [["a", "b", "c"], ["e"]]


def test_an_import_would_be_found_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("import a\nif x:\n    from p import b\ndef f():\n    from p.c import name\n    from . import d\n")
    assert imported_by("p.m", path, {"a", "p", "p.b", "p.c", "p.d", "p.m"}) == {"a", "p.b", "p.c", "p.d"}


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions inside, at any depth. Expressions, which have none, are not walked through."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from functions(child)


def lengths() -> Iterator[tuple[str, int, int]]:
    """Each file of the package and each function: its name, its lines, and how many it may have."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        yield name, len(path.read_text().splitlines()), LONGEST_FILE
        for node in functions(parsed(path)):
            yield f"{name} {node.name}", (node.end_lineno or 0) - node.lineno + 1, LONGEST_FUNCTION


def test_files_and_functions_are_short() -> None:
    longer = {name: lines for name, lines, most in lengths() if lines > LONGER.get(name, most)}
    longer = {name: lines for name, lines in longer.items() if name not in LISTS}
    assert longer == {}, f"more than {LONGEST_FILE} lines in a file or {LONGEST_FUNCTION} in a function: divide them"


def test_what_has_become_short_is_no_exception_any_more() -> None:
    still_longer = {name for name, lines, most in lengths() if lines > most}
    assert LONGER.keys() - still_longer == set(), "remove these from LONGER"
