"""Modules with one name: `queue.py` in the working directory hides Python's `queue`, or is hidden by it.

Used when an import has failed, or has found another module than the user's. It only looks; it imports nothing.
"""

from __future__ import annotations

import sys
import traceback
from importlib.machinery import PathFinder
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def hiding(error: BaseException, directory: Path) -> str:
    """Which module of the directory was taken for another one of its name, and so caused this error; empty if none."""
    for file in dict.fromkeys(_suspects(error, directory)):
        name = file.parent.name if file.name == "__init__.py" else file.stem
        if _file(directory, name) == file and (kind := _other(name, directory)):
            return f"{file.relative_to(directory)} in {directory} hides {kind} {name}: rename it"
    return ""


def _suspects(error: BaseException, directory: Path) -> Iterator[Path]:
    """Files that lack what was wanted of their module, or that code of others imports under their name."""
    if isinstance(error, ImportError):
        yield Path(str(error.path))
        if error.name and (file := _file(directory, error.name.partition(".")[0])):
            yield file
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        yield Path(str(error.obj.__file__))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    for importer, frame in pairwise(frames):
        # `import_module` imports what is named elsewhere, such as the target: that is the user's own.
        if frame.name == "<module>" and importer.name != "import_module" and _is_of_others(importer, directory):
            yield Path(frame.filename)


def _is_of_others(frame: traceback.FrameSummary, directory: Path) -> bool:
    file = Path(frame.filename)
    return not file.is_relative_to(directory) or not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


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
