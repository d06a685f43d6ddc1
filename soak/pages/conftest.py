"""A browser for the tests of the pages: Debian's chromium, driven by playwright."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from stage import Opener, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = shutil.which("chromium")
expect.set_options(timeout=30_000)  # a page that is loaded on a busy machine takes longer than the usual 5 s


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed, so the pages are not tried in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complained of: errors, violations of the policy, requests to other origins. None at the end."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def tab(browser: Browser, complaints: list[str]) -> Iterator[Opener]:
    """Opens an address in a new tab that watches for complaints."""
    with ExitStack() as stack:

        def opened(url: str, *, width: int = 1280, scheme: Any = "light", motion: Any = "no-preference") -> Page:
            page = browser.new_page(
                viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion=motion
            )
            stack.callback(page.close)
            origin = "/".join(url.split("/")[:3])
            page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
            page.on("console", lambda said: complain(complaints, said))
            page.on("request", lambda asked: stay(complaints, asked.url, origin))
            page.goto(url)
            return page

        yield opened


def stay(complaints: list[str], url: str, origin: str) -> None:
    """Note a request that leaves the origin."""
    if not url.startswith(origin):
        complaints.append(f"left: {url}")


def complain(complaints: list[str], said: Any) -> None:
    """Note errors and violations, but not that a server does not answer, which tests arrange."""
    if said.type in {"error", "warning"} and "ERR_" not in said.text and "Failed to load resource" not in said.text:
        complaints.append(f"{said.type}: {said.text}")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage
