"""`leasekeeper new`: a service to start with: an app, a test, a Dockerfile, and manifests.

Owned by the command line. It promises to write into a folder that is new or empty, and that what it writes passes its
own tests.
"""

from __future__ import annotations

import contextlib
import io
import keyword
import os
import re
import sys
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated

import typer

from leasekeeper.cli.errors import Stopped
from leasekeeper.errors import ConfigurationError
from leasekeeper.sqs.address import NAME_RULE, is_queue_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "service.py.txt": "$package/service.py",
    "tests/conftest.py.txt": "tests/conftest.py",
    "tests/test_service.py.txt": "tests/test_service.py",
    "Dockerfile.txt": "Dockerfile",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
}
"""The templates, and the files that are made of them."""
TAKEN = {*keyword.kwlist, *sys.stdlib_module_names, "leasekeeper", "tests"}
"""Names that the package of a service cannot have: it could not be imported, or would hide another one."""


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The service's name, e.g. shop; its folder has it.")],
    *,
    queue: Annotated[str, typer.Option(metavar="QUEUE", help="Name of the queue that it consumes.")] = "orders",
    manifests: Annotated[
        bool, typer.Option("--manifests/--no-manifests", help="Write manifests for Kubernetes and ECS too.")
    ] = True,
) -> None:
    """Write a service: an app, a test, a Dockerfile, and manifests for Kubernetes and ECS.

    The folder must be new or empty.
    """
    if not re.fullmatch(r"[a-z]([a-z0-9-]{,48}[a-z0-9])?", name):  # the manifests take no others
        raise ConfigurationError(
            f"{name!r} is no name of a service: use at most 50 small letters, digits and -, a letter first and no - "
            "last, e.g. order-mails"
        )
    if (package := name.replace("-", "_")) in TAKEN:
        raise ConfigurationError(f"{name!r} is the name of something of Python's: give another, e.g. {name}-service")
    if not is_queue_name(queue):
        raise ConfigurationError(f"--queue={queue!r}: give the name of a queue: {NAME_RULE}")
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} exists and is not empty: give another name, or remove it")
    group = " --group-id 1" if queue.endswith(".fifo") else ""
    words = {"name": name, "package": package, "queue": queue, "group": group}
    for path, text in _files(words):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    if manifests:
        _manifests(folder, words)
    print(f"{folder} is a service that consumes {queue}. Next:\n")
    print(f"  cd {name}\n  pip install -e . pytest\n  pytest")
    print(f"  leasekeeper run {words['package']}.service:app --local")


def _files(words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    templates = resources.files("leasekeeper.cli") / "skeleton"
    for template, path in FILES.items():
        text = (templates / template).read_text(encoding="utf-8")
        yield Template(path).substitute(words), Template(text).substitute(words)
    yield f"{words['package']}/__init__.py", f'"""The service {words["name"]}."""\n'


def _manifests(folder: Path, words: Mapping[str, str]) -> None:
    """Write manifests from the options of the new app, as `leasekeeper manifest` does."""
    from leasekeeper.cli.manifest import Kind, manifest

    target, before, quiet = f"{words['package']}.service:app", Path.cwd(), sys.dont_write_bytecode
    os.chdir(folder)
    sys.dont_write_bytecode = True  # the folder has only what is listed
    sys.path.insert(0, str(Path.cwd()))
    try:
        for kind in Kind:
            with contextlib.suppress(Stopped), contextlib.redirect_stderr(io.StringIO()):
                manifest(kind, target, name=words["name"], image=words["name"], output=Path("deploy"))
    finally:
        sys.dont_write_bytecode = quiet
        sys.path.pop(0)
        os.chdir(before)
