"""`leasekeeper docs`: the AsyncAPI document of apps, and a page to read it; or whether a committed one is stale.

Owned by the command line. Nothing is asked of AWS: the document is made from the code.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from leasekeeper.cli.errors import Stopped, say
from leasekeeper.errors import ConfigurationError
from leasekeeper.exit_codes import Exit


def docs(
    targets: Annotated[
        list[str], typer.Argument(metavar="MODULE:NAME...", help="Apps and consumers to describe, e.g. shop:app.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the document there; without it, it is printed.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page there that needs nothing from elsewhere.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file is not what would be written.")
    ] = False,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The title; unset, the name of the first module.")
    ] = None,
    version: Annotated[str, typer.Option(metavar="TEXT", help="The version of your program.")] = "0.0.0",
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is, in a sentence or more.")] = "",
) -> None:
    """Write what apps consume and send as an AsyncAPI 3.0 document, and as a page.

    With --check, a pipeline finds a committed document that is not of the present code: exit code 1, and the names of
    the files.
    """
    from leasekeeper.asyncapi import document_of, page_of
    from leasekeeper.cli.targets import load

    if check and output is None and html is None:
        raise ConfigurationError("--check without --output or --html: name the files to check")
    apps = [load(each) for each in targets]
    named = title or targets[0].partition(":")[0].rpartition(".")[2]
    document = document_of(*apps, title=named, version=version, description=description)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    files = {output: text} if output is not None else {}
    if html is not None:
        files[html] = page_of(document)
    if check:
        raise Stopped(_checked(files))
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    if not files:
        print(text, end="")


def _checked(files: dict[Path, str]) -> Exit:
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        say(f"{path} is not what the code says now: run the same command without --check, and commit it")
    return Exit.FAILED if stale else Exit.CLEAN
