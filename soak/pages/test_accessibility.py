"""What axe-core finds on the pages, where `LEASEKEEPER_AXE` names its file: `npm install axe-core`, then axe.min.js."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from stage import Stage

AXE = os.environ.get("LEASEKEEPER_AXE", "")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FINDINGS = """async rules => (await axe.run(document, { runOnly: rules })).violations
    .map(each => [each.id, each.help, each.nodes.map(node => node.html.slice(0, 120))])"""
TABS = ("in-hand", "failures", "dead-letters", "throttler", "leases", "options", "doctor")
VIEWS = [
    *((scene, "") for scene in ("calm", "trouble", "fleet", "empty", "hostile")),
    *(("calm", f"?consumer=orders&tab={tab}") for tab in TABS),
]

pytestmark = pytest.mark.skipif(not AXE, reason="LEASEKEEPER_AXE does not name axe.min.js")


def findings(browser: Browser, url: str, *, width: int, scheme: str, press: str = "") -> list[object]:
    """What axe-core finds on a page; `press` opens something first."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        bypass_csp=True,  # for axe-core, which the page's policy would refuse
    )
    page = context.new_page()
    page.goto(url)
    expect(page.locator(".status.live")).to_be_visible()
    expect(page.get_by_text("Loading…")).to_have_count(0)
    if press:
        page.keyboard.press(press)
        expect(page.locator("dialog[open]")).to_be_visible()
    page.evaluate(Path(AXE).read_text())
    found: list[object] = page.evaluate(FINDINGS, RULES)
    context.close()
    return found


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_on_the_live_page(browser: Browser, stage: Stage, width: int, scheme: str) -> None:
    found = {view: findings(browser, stage.url(*view), width=width, scheme=scheme) for view in VIEWS}
    found["help", ""] = findings(browser, stage.url("calm"), width=width, scheme=scheme, press="?")

    assert {view: each for view, each in found.items() if each} == {}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_axe_finds_nothing_on_the_local_page(browser: Browser, width: int, scheme: str) -> None:
    with LocalSqs() as server:
        url = f"{server.endpoint_url}/_leasekeeper/"
        create = json.dumps({"action": "create", "queue": "orders"}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{url}do", create, method="POST")).close()
        assert findings(browser, url, width=width, scheme=scheme) == []
        assert findings(browser, f"{url}?queue=orders", width=width, scheme=scheme) == []
