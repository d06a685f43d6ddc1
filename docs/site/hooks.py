"""What the documentation site does with the pages beside rendering them.

Used by mkdocs (`mkdocs.yml`). Diagrams become pictures, which `docs/scripts/diagrams.py` has drawn, because the site
loads no scripts from elsewhere. Links to files of the repository lead to pages with their text. The page of the API is
written by mkdocstrings, from the same docstrings and the same list of names as `docs/reference/api.md`.
"""

from __future__ import annotations

import hashlib
import re
import runpy
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

import leasekeeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
MERMAID = re.compile(r"^```mermaid\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
OUTSIDE = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)((?:src|examples|deploy|benchmarks|tests)/[^)#\s]*)\)")
"""A link to a file of the repository that is not in `docs`."""
NAME_IN_CELL = re.compile(r"(?<=<td><code>)[^<]+")
"""A name that begins a cell of a table."""
SHOWN = ("examples", "deploy")
"""Folders with files that have a page in the site."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".toml": "toml", "Dockerfile": "dockerfile"}


FOLDERS = {"how-to": "How-to", "reference": "Reference", "internals": "Internals"}
"""Folders of pages, and the section of the navigation for each."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a page that the navigation does not name at the end of its section, so that a new page is not lost."""
    assert config.nav is not None
    sections = {title: entries for entry in config.nav for title, entries in entry.items()}
    for page in unnamed(config.nav):
        sections[FOLDERS[page.partition("/")[0]]].append(page)
    return config


def unnamed(nav: Any) -> list[str]:
    """The pages that a navigation does not name. Decisions have a page with their list."""
    written = (str(page.relative_to(DOCS)) for page in sorted(DOCS.rglob("*.md")))
    return [page for page in written if not page.startswith("internals/decisions/0") and page not in _named(nav)]


def _named(entries: Any) -> set[str]:
    if isinstance(entries, str):
        return {entries}
    values = entries.values() if isinstance(entries, dict) else entries
    return {page for each in values for page in _named(each)}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the shown folders that somebody may link to."""
    for folder in SHOWN:
        for path in sorted((ROOT / folder).rglob("*")):
            language = LANGUAGES.get(path.suffix or path.name)
            if language is None or "__pycache__" in path.parts:
                continue
            name = path.relative_to(ROOT)
            text = f"# {name}\n\n````{language}\n{path.read_text()}````\n"
            files.append(File.generated(config, f"source/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Change a page before it is rendered."""
    where = page.file.src_uri
    if where == "reference/api.md":
        return api_page()
    up = "../" * where.count("/")
    markdown = MERMAID.sub(lambda found: _picture(found[1], up, where), markdown)
    return OUTSIDE.sub(lambda found: _link(found[1], found[3], up), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Let long names in tables break after an underscore, so that the other columns have room."""
    return NAME_IN_CELL.sub(lambda found: found[0].replace("_", "_<wbr>"), html)


def picture_of(diagram: str) -> str:
    """The name of a diagram's picture: it changes with the diagram."""
    return f"diagram-{hashlib.sha256(diagram.encode()).hexdigest()[:10]}.svg"


def _picture(diagram: str, up: str, where: str) -> str:
    name = picture_of(diagram)
    if not (DOCS / "internals" / "images" / name).exists():
        raise PluginError(f"{where}: a diagram has no picture {name}: run `python docs/scripts/diagrams.py`")
    path = f"{up}internals/images/{name}"
    return f"[![Diagram: a click enlarges it]({path})]({path})\n"


def _link(text: str, path: str, up: str) -> str:
    language = LANGUAGES.get(Path(path).suffix or Path(path).name)
    return f"[{text}]({up}source/{path}.md)" if path.startswith(SHOWN) and language else text


def api_page() -> str:
    """The page of the API, for mkdocstrings: the groups and names of `docs/scripts/api_page.py`."""
    script = runpy.run_path(str(DOCS / "scripts" / "api_page.py"))
    return "\n".join(_api_lines(script))


def _api_lines(script: dict[str, Any]) -> Iterator[str]:
    yield "# API\n"
    yield "Every public name. The [options](options.md) have another page; the [glossary](glossary.md) has the terms.\n"
    internal = script["INTERNAL"]
    modules: dict[str, list[str]] = {}
    for name in leasekeeper.__all__:
        modules.setdefault(getattr(leasekeeper, name).__module__, []).append(name)
    known = {module for group in script["GROUPS"].values() for module in group}
    others = {module: (module,) for module in sorted(set(modules) - known)}
    for title, group in {**script["GROUPS"], **others}.items():
        yield f"## {title}\n"
        names = [(module, name) for module in group for name in modules.get(module, [])]
        if title == "Statistics":
            names += [(module, name) for module, parts in script["PARTS"].items() for name in parts]
        for module, name in names:
            yield _directive(module, name, internal)
    for module, title in script["MORE"].items():
        yield f"## `{module}`: {title}\n"
        for owner, name in _public(module, script):
            yield _directive(owner, name, internal)


def _public(module: str, script: dict[str, Any]) -> list[tuple[str, str]]:
    """The public names of a module, each with the module that defines it."""
    found = import_module(module)
    if public := getattr(found, "__all__", ()):
        objects = [(name, getattr(found, name)) for name in public if name not in script["ALIASES"]]
        return [(each.__module__, name) for name, each in objects if hasattr(each, "__module__")]
    definitions = script["_definitions"](module)
    return [(module, name) for name in definitions if not name.startswith("_") and name not in script["INTERNAL"]]


def _directive(module: str, name: str, internal: set[str]) -> str:
    hidden = [member.partition(".")[2] for member in sorted(internal) if member.startswith(f"{name}.")]
    filters = ", ".join(f'"!^{each}$"' for each in ("_.*", *hidden))
    return f"::: {module}.{name}\n    options:\n      filters: [{filters}]\n"
