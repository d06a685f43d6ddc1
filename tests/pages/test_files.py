"""The files of the pages: what is answered, with which headers, and what a browser may make of it."""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import leasekeeper.pages
from leasekeeper.admin import admin_app
from leasekeeper.pages import INDEX, LOCAL, TYPES, page_file

if TYPE_CHECKING:
    from httpx import Response

FOLDER = Path(leasekeeper.pages.__file__).parent
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix[1:] in TYPES)
NODE = shutil.which("node")
MOST_LOADED = 80_000
"""Bytes that a browser loads, not compressed, to show a page: the live page with a consumer and its flow opened. Other
tabs, dialogs and the sentences of the tooltip come when they are asked for."""
MOST = 60_000
"""Bytes of all files, compressed as a browser gets them."""
CONSUMER = ("consumer.css", "consumer.js", "in-hand.js")
"""What comes when the first consumer is opened, beside the modules that these import."""
ASKED_AT_ONCE = r"from \"\./([\w.-]+)\"|(?:href|src)=\"pages/([\w.-]+)\""
"""How a file names another one that is loaded with it."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Browser:
    """Asks the admin surface without a socket."""

    def get(self, path: str, **headers: str) -> Response:
        return asyncio.run(self._get(path, {name.replace("_", "-"): value for name, value in headers.items()}))

    async def _get(self, path: str, headers: dict[str, str]) -> Response:
        from httpx import ASGITransport, AsyncClient  # slow to import

        async with AsyncClient(transport=ASGITransport(app=admin_app()), base_url="http://127.0.0.1") as to:
            return await to.get(path, headers=headers)


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_answered_with_its_type_and_a_policy_that_allows_its_origin_only(browser: Browser, name: str) -> None:
    answer = browser.get(f"/pages/{name}")

    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"] == TYPES[name.rpartition(".")[2]]
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_is_at_the_root_and_a_browser_that_has_it_is_told_so(browser: Browser) -> None:
    first = browser.get("/", accept_encoding="identity")
    again = browser.get("/", if_none_match=first.headers["etag"])

    assert first.text.startswith("<!doctype html>")
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["__init__.py", "none.js", "%2e%2e%2fpages%2f__init__.py", "..%2f..%2fpy.typed"])
def test_nothing_but_the_files_of_the_pages_is_answered(browser: Browser, name: str) -> None:
    assert browser.get(f"/pages/{name}").status_code == 404


def test_a_compressed_file_has_the_same_content() -> None:
    found = page_file(INDEX, compress=True)

    assert found is not None
    assert found.headers["content-encoding"] == "gzip"
    assert gzip.decompress(found.body) == (FOLDER / INDEX).read_bytes()


def loaded_by(page: str, *opened: str) -> set[str]:
    """The files that a browser has when a page is open and these modules were loaded on demand."""
    found, new = set[str](), {page, *opened}
    while new:
        found |= new
        new = {
            each
            for name in new
            for pair in re.findall(ASKED_AT_ONCE, (FOLDER / name).read_text())
            for each in pair
            if each
        } - found
    return found


def size_of(names: set[str], *, compress: bool = False) -> int:
    """Bytes of the answers, without headers."""
    return sum(len(found.body) for name in names if (found := page_file(name, compress=compress)))


@pytest.mark.parametrize("page", [(INDEX, *CONSUMER), (LOCAL,)])
def test_a_page_is_small_as_it_is_written_with_no_build_step(page: tuple[str, ...]) -> None:
    names = loaded_by(*page)

    assert {"style.css", "icon.svg", "dom.js"} < names
    assert size_of(names) <= MOST_LOADED


def test_all_files_together_are_small() -> None:
    assert size_of(set(FILES), compress=True) <= MOST


def test_every_file_belongs_to_a_page() -> None:
    asked_later = r"(?:import|stylesheet)\(\"(?:\./|pages/)([\w.-]+)\"\)"
    on_demand = {each for name in FILES for each in re.findall(asked_later, (FOLDER / name).read_text())}

    assert set(CONSUMER) <= on_demand
    assert loaded_by(INDEX, *CONSUMER, *on_demand) | loaded_by(LOCAL) == set(FILES)


def test_the_files_name_no_other_origin_and_carry_no_code_or_style_in_the_html() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn", text), name
        if name.endswith(".html"):
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), name
        if name.endswith(".js"):
            assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b", text), name


def test_each_module_that_is_imported_or_named_exists() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text()
        named = re.findall(r"(?:from |import\()\"\./([\w.-]+)\"", text) + re.findall(r"\"pages/([\w.-]+)\"", text)
        assert set(named) <= set(FILES), name


@pytest.mark.parametrize("page", ["index.html", "local.html"])
def test_a_page_names_every_module_that_it_needs_so_that_none_waits_for_another(page: str) -> None:
    text = (FOLDER / page).read_text()
    named = set(re.findall(r"(?:href|src)=\"pages/(\w+\.js)\"", text))
    needed, new = set[str](), set(re.findall(r"<script type=\"module\" src=\"pages/(\w+\.js)\"", text))
    while new:
        needed |= new
        new = {
            each for name in new for each in re.findall(r"from \"\./(\w+\.js)\"", (FOLDER / name).read_text())
        } - needed
    assert named == needed


def test_every_figure_that_promises_an_explanation_has_one() -> None:
    explained = set(re.findall(r"^  (\w+): \[", (FOLDER / "meanings.js").read_text(), re.MULTILINE))
    asked: set[str] = set()
    for name in FILES:
        asked |= set(re.findall(r"\"data-about\": \"(\w+)\"", (FOLDER / name).read_text()))

    assert asked
    assert asked <= explained


@pytest.mark.skipif(NODE is None, reason="node is not installed, so the modules are not parsed; `make soak` runs them")
def test_every_module_can_be_parsed() -> None:
    assert NODE is not None
    modules = [str(FOLDER / name) for name in FILES if name.endswith(".js")]
    parse = "for (const name of process.argv.slice(1)) new vm.SourceTextModule(fs.readFileSync(name, 'utf8'))"
    command = [NODE, "--no-warnings", "--experimental-vm-modules", "-e", parse, *modules]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_no_modules_import_each_other() -> None:
    imports = {
        name: set(re.findall(r"(?:from |import\()\"\./([\w.-]+)\"", (FOLDER / name).read_text()))
        for name in FILES
        if name.endswith(".js")
    }
    while leaves := [name for name, others in imports.items() if not others & imports.keys()]:
        for name in leaves:
            del imports[name]
    assert imports == {}
