"""The code in the documentation is Python, and what it imports or passes to Leasekeeper exists."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Options

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
KNOWN = {field.name for field in dataclasses.fields(Options)}
SNIPPETS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    for number, block in enumerate(BLOCK.findall(page.read_text()), start=1)
]


def _parsed(block: str) -> ast.Module:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(block, "snippet", "exec", flags)
    assert isinstance(tree, ast.Module)
    return tree


@pytest.mark.parametrize("block", SNIPPETS)
def test_a_snippet_is_python_and_its_imports_and_options_exist(block: str) -> None:
    for node in ast.walk(_parsed(block)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("leasekeeper"):
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not _has(module, name.name)] == []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"Consumer", "Leasekeeper", "app.consumer"}:
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            assert given - KNOWN - {"options", "host", "lifespan", "when"} == set()


def _has(module: ModuleType, name: str) -> bool:
    """Whether a name can be imported from there: an attribute, or a module of a package."""
    return hasattr(module, name) or importlib.util.find_spec(f"{module.__name__}.{name}") is not None


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) > 10
