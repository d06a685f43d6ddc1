"""What the live page costs its browser with 5,000 messages in hand, and how soon it is painted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession
    from stage import Opener, Stage

SECONDS = int(os.environ.get("LEASEKEEPER_SOAK_PAGE_SECONDS", "12"))
"""How long it is looked at; 60 for a measurement."""
MOST_GROWTH = 4_000_000
"""Bytes that the heap may grow between two states with all garbage collected."""
MOST_BUSY = 0.3
"""Share of a core that the tab and the process that draws for it may use, by their CPU time."""
MOST_PAINT, MOST_QUIET_PAINT = 2_000, 200
"""Milliseconds to the first paint on a machine that does other work too, and on a quiet one."""
QUIET = 1.0
"""Load of a machine that is quiet."""
LOADS = 5


def weigh(browser: Browser, session: CDPSession) -> dict[str, float]:
    """Heap, nodes and CPU time, after a collection of garbage."""
    session.send("HeapProfiler.collectGarbage")
    metrics: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    whole = browser.new_browser_cdp_session()
    processes = whole.send("SystemInfo.getProcessInfo")["processInfo"]
    whole.detach()
    spent = sum(each["cpuTime"] for each in processes if each["type"] in {"renderer", "GPU"})
    return {each["name"]: each["value"] for each in metrics} | {"cpu": spent}


def test_five_thousand_messages_in_hand_keep_memory_and_cpu_flat(browser: Browser, tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("crowded", "?consumer=orders"))
    expect(page.locator(".legend")).to_contain_text("a square is a number of messages")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.wait_for_timeout(3_000)

    before = weigh(browser, session)
    page.wait_for_timeout(SECONDS * 1000)
    after = weigh(browser, session)

    grown = after["JSHeapUsedSize"] - before["JSHeapUsedSize"]
    busy = (after["cpu"] - before["cpu"]) / (after["Timestamp"] - before["Timestamp"])
    print(f"heap {after['JSHeapUsedSize'] / 1e6:.1f} MB ({grown / 1e6:+.1f}), {busy:.1%} of a core")  # noqa: T201
    assert grown < MOST_GROWTH
    assert busy < MOST_BUSY
    assert abs(after["Nodes"] - before["Nodes"]) < 500


def test_the_first_paint_comes_soon(tab: Opener, stage: Stage) -> None:
    """The best of some loads: what else the machine does only adds to it."""
    paints, quiet = list[float](), os.getloadavg()[0] < QUIET
    for _ in range(LOADS):
        page = tab(stage.url("calm"))
        expect(page.locator(".headline")).to_be_visible()
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        page.close()
    print(f"first paint after {min(paints):.0f} ms, quiet: {quiet}")  # noqa: T201 - shown with -s
    assert min(paints) < (MOST_QUIET_PAINT if quiet else MOST_PAINT)
