"""Draw the diagrams of the documentation as pictures: `python docs/scripts/diagrams.py`.

The site shows the pictures, because it loads no scripts; GitHub draws the text itself. It needs npm (for mermaid), and
Debian's chromium by way of Playwright, and only when a diagram has changed: the name of a picture is made of its text.
"""

from __future__ import annotations

import runpy
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
IMAGES = DOCS / "internals" / "images"
VERSION = "11"


def main() -> None:
    """Draw what has no picture yet, and remove the pictures of diagrams that are gone."""
    hooks = runpy.run_path(str(DOCS / "site" / "hooks.py"))
    diagrams = {
        hooks["picture_of"](diagram): diagram
        for page in DOCS.rglob("*.md")
        for diagram in hooks["MERMAID"].findall(page.read_text())
    }
    for old in set(IMAGES.glob("diagram-*.svg")) - {IMAGES / name for name in diagrams}:
        old.unlink()
    if missing := {name: text for name, text in diagrams.items() if not (IMAGES / name).exists()}:
        _draw(missing)


def _draw(diagrams: dict[str, str]) -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"mermaid@{VERSION}", "--silent"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - a command of ours
        [package] = Path(folder).glob("mermaid-*.tgz")
        with tarfile.open(package) as archive:
            archive.extract("package/dist/mermaid.min.js", folder, filter="data")
        library = (Path(folder) / "package" / "dist" / "mermaid.min.js").read_text()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page: Any = browser.new_page()
            page.set_content("<html><body></body></html>")
            page.add_script_tag(content=library)
            page.evaluate("mermaid.initialize({startOnLoad: false, theme: 'neutral', htmlLabels: false})")
            for name, text in diagrams.items():
                svg = page.evaluate("async text => (await mermaid.render('diagram', text)).svg", text)
                (IMAGES / name).write_text(svg + "\n")
                print(name)
            browser.close()


if __name__ == "__main__":
    main()
