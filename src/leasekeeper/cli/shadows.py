"""Modules with one name: `queue.py` in the working directory hides Python's `queue`, or is hidden by it.

Used when an import has failed, or has found another module than the user's. It only looks; it imports nothing.
"""

from __future__ import annotations

import sys
import traceback
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def hiding(error: BaseException, directory: Path) -> str:
    """Which module of the directory had a part in this error and hides another one; empty if none did."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, ImportError):
        files += [str(error.path)]
        files += [str(_file(directory, name.partition(".")[0])) for name in (error.name,) if name]
    for file in dict.fromkeys(map(Path, files)):
        name = file.parent.name if file.name == "__init__.py" else file.stem
        if _file(directory, name) == file and (kind := _other(name, directory)):
            return f"{file.relative_to(directory)} in {directory} hides {kind} {name}: rename it"
    return ""


def hidden(module: ModuleType, directory: Path) -> str:
    """What the directory has under the name of this module, if the module is from elsewhere; empty if nothing."""
    name, found = module.__name__, getattr(module, "__file__", None)
    file = _file(directory, name)
    if file is None or (found is not None and Path(found).is_relative_to(directory)):
        return ""
    return (
        f"{name} is {_kind(name)}{f' in {found}' if found else ''}, and not {file.relative_to(directory)} in "
        f"{directory}: rename yours"
    )


def _file(directory: Path, name: str) -> Path | None:
    """The file of the directory that a module of that name would be read from."""
    return next((file for file in (directory / name / "__init__.py", directory / f"{name}.py") if file.is_file()), None)


def _other(name: str, directory: Path) -> str:
    """What kind of module has the same name elsewhere; empty if there is none."""
    elsewhere = [each for each in sys.path if each and Path(each) != directory]
    spec = PathFinder.find_spec(name, elsewhere)
    return "" if spec is None or spec.origin is None else _kind(name)


def _kind(name: str) -> str:
    return "Python's own module" if name in sys.stdlib_module_names else "the installed module"
