"""The live page in a browser, with states made up for it: each view, the keyboard, actions, what goes wrong."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

import made_up
import pytest
from playwright.sync_api import expect
from stage import Opener, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = (380, 900, 1600)


def open_consumer(tab: Opener, stage: Stage, scene: str = "calm", queue: str = "orders", view: str = "") -> Page:
    page = tab(stage.url(scene, f"?consumer={queue}{f'&tab={view}' if view else ''}"))
    expect(page.locator("canvas.cells")).to_be_visible()
    return page


@pytest.mark.parametrize("scene", sorted(made_up.SCENES))
def test_every_scene_is_drawn_at_every_width_without_sideways_scrolling(tab: Opener, stage: Stage, scene: str) -> None:
    page = tab(stage.url(scene), width=WIDTHS[0], scheme="dark")
    expect(page.locator(".status.live")).to_be_visible()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    rows = page.locator("tr.whole").count()
    assert rows == len({q for p in made_up.SCENES[scene](0.0)["processes"].values() for q in p["consumers"]})


@pytest.mark.parametrize("view", ["in-hand", "failures", "dead-letters", "throttler", "leases", "options", "doctor"])
def test_every_tab_has_its_address_and_its_content(tab: Opener, stage: Stage, view: str) -> None:
    page = open_consumer(tab, stage, view=view)

    selected = page.locator("[role=tab][aria-selected=true]")
    expect(selected).to_have_id(f"tab-{view}")
    expect(page.locator(".tab")).not_to_have_text("Loading…")
    assert f"tab={view}" in page.url
    assert "process=" in page.url  # the page has chosen one, so that the address can be passed on


def test_hostile_names_are_shown_as_text(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("hostile"))

    for name in made_up.HOSTILE:
        expect(page.locator(".who > a").get_by_text(name, exact=True)).to_have_count(1)
    page.locator(".who > a").first.click()
    expect(page.locator("h1")).to_have_text(made_up.HOSTILE[0])
    page.locator("#tab-failures").click()
    page.locator("summary").first.click()
    expect(page.locator("details p").first).to_have_text(made_up.HOSTILE[1])
    assert page.locator("#app img, #app b b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_goes_everywhere_and_back_works(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("calm"))
    expect(page.locator("tr.whole")).to_have_count(4)

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("orders")
    page.keyboard.press("Escape")
    expect(page.locator("tr.whole")).to_have_count(4)
    page.go_back()
    expect(page.locator("h1")).to_have_text("orders")
    page.go_back()
    page.keyboard.press("/")
    page.keyboard.type("pay")
    expect(page.locator("tr.whole")).to_have_count(1)
    assert "q=pay" in page.url
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).not_to_be_visible()


def test_p_holds_the_page_and_a_table_under_the_pointer_stands_still(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("calm"))
    rate = page.locator("tr.whole .pair").first
    expect(rate).to_be_visible()

    page.locator("tr.whole").first.hover()
    before, headline = rate.inner_text(), page.locator(".headline").inner_text()
    page.wait_for_function("text => document.querySelector('.headline').innerText !== text", arg=headline)
    assert rate.inner_text() == before
    page.mouse.move(1, 1)
    page.wait_for_function("text => document.querySelector('tr.whole .pair').innerText !== text", arg=before)

    page.keyboard.press("p")
    expect(page.locator(".status.held")).to_contain_text("held at")
    before = page.locator("main").inner_text()
    page.wait_for_timeout(1500)  # two states of the stream
    assert page.locator("main").inner_text() == before
    page.keyboard.press("p")
    expect(page.locator(".status.live")).to_be_visible()


def test_figures_explain_themselves_on_hover_and_on_focus(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("calm"))

    page.locator(".figure").nth(5).hover()
    expect(page.locator(".tip.on")).to_contain_text("smallest lease left now")
    page.mouse.move(1, 1)
    page.keyboard.press("Tab")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.locator(".tip.on").count():
            break
    expect(page.locator(".tip.on")).to_be_visible()
    assert page.locator(":focus").get_attribute("aria-describedby") == "tip"


def test_a_cell_can_be_chosen_and_says_what_it_is(tab: Opener, stage: Stage) -> None:
    page = open_consumer(tab, stage)
    page.wait_for_timeout(1200)  # the cells fade in one after the other

    page.locator("canvas.cells").click(position={"x": 10, "y": 10})
    expect(page.locator(".chosen")).to_contain_text("shop.py:38")


@pytest.mark.parametrize("queue", ["orders", "payments.fifo"])
def test_the_cells_get_less_room_some_seconds_after_a_burst(
    tab: Opener, stage: Stage, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    """Also when those that are left stand in the last slots."""
    held = list(made_up.in_hand(made_up.NOW, 200, running=10, groups=40 if "fifo" in queue else 0).items())

    def burst(now: float) -> dict[str, Any]:
        each = made_up.consumer(queue, now, concurrency=10, running=min(10, len(held)))
        shown = {name: [*row[:3], now + 20, *row[4:]] for name, row in held}
        each["detail"] = made_up.detail(now, shown)
        return made_up.state(now, made_up.process("shop-7f9c:4121", now, [each]))

    monkeypatch.setitem(made_up.SCENES, "burst", burst)
    page = open_consumer(tab, stage, "burst", queue)
    cells = page.locator("canvas.cells")
    expect(cells).to_have_css("height", re.compile(r"^([2-9]\d\d|\d{4})(\.\d+)?px$"))
    del held[:-3]
    expect(cells).to_have_attribute("aria-label", re.compile("^3 messages in hand"))
    expect(page.locator(".leases .top")).to_contain_text("3 of 10 running")
    expect(cells).to_have_css("height", re.compile(r"^(1?\d?\d)(\.\d+)?px$"))


def test_actions_ask_first_need_the_token_and_say_what_was_done(tab: Opener, stage: Stage) -> None:
    page = open_consumer(tab, stage)

    page.get_by_role("button", name="Pause…").click()
    dialog = page.locator("dialog.confirm")
    expect(dialog).to_contain_text("messages in hand go on to their end")
    page.locator("#token").fill("wrong")
    page.locator("#do").click()
    expect(dialog).to_contain_text("the token is not the one")
    page.locator("#token").clear()
    page.locator("#token").press_sequentially("open-sesame")
    page.locator("#token").press("Enter")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Concurrency…").click()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Concurrency…").click()
    expect(page.locator("#token")).to_have_count(0)  # it is known now
    page.locator("#value").fill("20")
    expect(dialog).to_contain_text("With 20")
    page.locator("#do").click()
    expect(dialog).to_have_count(0)
    assert stage.actions == [
        {"process": "shop-7f9c:4121", "consumer": "orders", "action": "pause"},
        {"process": "shop-7f9c:4121", "consumer": "orders", "action": "concurrency", "value": 20},
    ]


def test_an_action_on_one_of_several_processes_names_it(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("fleet", "?consumer=orders&process=shop-b:4001"))

    page.get_by_role("button", name="Pause…").click()
    expect(page.locator("dialog.confirm h2")).to_have_text("Pause orders in shop-b:4001?")
    expect(page.locator("dialog.confirm")).to_contain_text("3 other processes go on as before.")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("scene", "queue"), [("calm", "orders"), ("hostile", "a%26b%3B%22%27%60%24%7B1%7D")])
def test_failures_do_not_overlap_and_name_a_message_once(
    tab: Opener, stage: Stage, scene: str, queue: str, width: int
) -> None:
    page = tab(stage.url(scene, f"?consumer={queue}&tab=failures"), width=width, scheme="dark")
    card = page.locator("details.card").first
    card.locator("summary").click()
    expect(card.locator(".ids")).to_contain_text("attempt 3")

    boxes = [each.bounding_box() for each in card.locator("summary .what > *, summary .figures").all()]
    found = [(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]) for box in boxes if box]
    assert len(found) == 3
    assert not [
        (one, other)
        for one, other in combinations(found, 2)
        if min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])
    ]
    assert max(right for _, _, right, _ in found) <= width


def test_without_a_token_there_is_nothing_to_press(tab: Opener, stage: Stage) -> None:
    page = open_consumer(tab, stage, "trouble")

    expect(page.locator(".head")).to_contain_text("Read-only")
    assert page.locator(".actions button").count() == 0


def test_dead_letters_are_looked_at_only_after_a_question_and_bodies_one_by_one(tab: Opener, stage: Stage) -> None:
    page = open_consumer(tab, stage, view="dead-letters")

    page.get_by_role("button", name="Look at up to 10…").click()
    expect(page.locator("dialog.confirm")).to_contain_text("each gets one receive more")
    page.locator("#token").fill("open-sesame")
    assert stage.actions == []
    page.locator("#do").click()
    expect(page.locator(".tab .card")).to_have_count(2)
    expect(page.locator(".tab .card").first).to_contain_text("<b>cause 1</b>")
    expect(page.locator(".tab pre")).to_have_count(0)
    page.get_by_role("button", name="Show the body").last.click()
    expect(page.locator(".tab pre")).to_have_text("the body of m-2")
    page.get_by_role("button", name="Redrive…").click()
    expect(page.locator("dialog.confirm")).to_contain_text("moves all 3 messages back")
    page.locator("#do").click()
    expect(page.locator("dialog.confirm")).to_have_count(0)
    about = {"process": "shop-7f9c:4121", "consumer": "orders"}
    assert stage.actions == [
        {"what": "peek", **about, "count": 10},
        {"what": "peek", **about, "id": "m-2"},
        {"what": "redrive", **about},
    ]


def test_a_server_that_dies_and_returns(tab: Opener) -> None:
    with Stage() as first:
        page = tab(first.url("calm"))
        other = tab(first.url("calm", "?consumer=orders"))
        expect(page.locator(".status.live")).to_be_visible()
        expect(other.locator("canvas.cells")).to_be_visible()
    # It has said `bye`, and ended with both streams open.
    expect(page.locator(".reason.stale")).to_contain_text("The process has said that it stops. What you see is from")
    expect(page.locator("tr.whole")).to_have_count(4)
    with Stage(port=first.port):
        for each in (page, other):
            expect(each.locator(".status.live")).to_be_visible(timeout=15_000)
            expect(each.locator(".reason.stale")).to_have_count(0)


def test_a_hidden_tab_asks_nothing(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("calm"))
    expect(page.locator(".status.live")).to_be_visible()

    hide = (
        "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.evaluate(hide % "true")
    expect(page.locator(".status.hidden")).to_be_visible()
    before = page.locator("main").inner_text()
    page.wait_for_timeout(1500)
    assert page.locator("main").inner_text() == before
    page.evaluate(hide % "false")
    expect(page.locator(".status.live")).to_be_visible()


def test_seven_windows_are_all_alive_and_each_can_act(browser: Browser, stage: Stage) -> None:
    """A browser opens six connections to one address, and an open stream keeps one."""
    with browser.new_context() as context:
        pages = [context.new_page() for _ in range(7)]
        for page in pages:
            page.goto(stage.url("calm", "?consumer=orders" if page is pages[-1] else ""))
        last, moved = pages[-1], "text => document.querySelector('.headline').innerText !== text"
        expect(last.locator(".status.live")).to_be_visible()
        last.wait_for_function(moved, arg=last.locator(".headline").inner_text(), polling=200)
        last.get_by_role("button", name="Pause…").click()
        last.locator("#token").fill("open-sesame")
        last.locator("#do").click()
        expect(last.locator("dialog.confirm")).to_have_count(0)
        assert len(stage.actions) == 1
        for _ in range(2):
            while stage.streams != 4:  # it takes a second to hear of the others, and three to miss one that has gone
                last.wait_for_timeout(100)
            pages.pop(0).close()


def test_a_message_whose_handler_has_ended_does_not_count_on(tab: Opener, stage: Stage) -> None:
    page = open_consumer(tab, stage)
    expect(page.locator(".legend")).to_contain_text("done, waits for its delete")

    rows = page.locator("tr", has=page.locator("td[data-label=state]", has_text="acking"))
    expect(rows.first.locator("td[data-label='runs for']")).to_have_text("ended")


def test_a_process_that_differs_and_one_that_does_not_answer_stand_out(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("fleet"))

    expect(page.locator(".part", has_text="shop-c:4002").locator(".uneven")).to_have_count(2)
    expect(page.locator(".missing")).to_contain_text("connection refused")


def test_a_fleet_that_has_stopped_keeps_what_was_known_of_it(tab: Opener) -> None:
    with Stage() as stage:
        page = tab(stage.url("ended"))
        expect(page.locator(".part")).to_have_count(2)
    expect(page.locator(".reason.stale")).to_contain_text("All processes have stopped.")
    expect(page.locator(".bar .pill")).to_contain_text("STOPPED")
    expect(page.locator(".part", has_text="process 2 (shop-b:4001)")).to_contain_text("STOPPED")
    expect(page.locator(".part .of").first).to_have_text("0 of 50")


def test_a_process_that_has_never_answered_has_no_age_and_no_advice_on_consumers(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("unheard"))

    expect(page.locator(".empty .title")).to_have_text("No process answers yet.")
    expect(page.locator(".bar")).not_to_contain_text("up ")
    page.goto(stage.url("empty"))
    expect(page.locator(".empty .title")).to_have_text("No consumers here yet.")


def test_a_process_that_does_not_answer_is_not_replaced_by_another(tab: Opener, stage: Stage) -> None:
    """The detail is that of the process which is asked for; another one would be shown without it."""
    page = tab(stage.url("fleet", "?consumer=orders&process=shop-e:4009"))

    expect(page.locator(".empty")).to_contain_text("shop-e:4009 does not answer")
    expect(page.locator(".empty")).to_contain_text("connection refused")
    page.locator(".empty .chip").first.click()
    expect(page.locator(".actions")).to_be_visible()


def test_motion_is_reduced_where_people_ask_for_it(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("calm", "?consumer=orders"), motion="reduce")
    expect(page.locator(".link").first).to_be_attached()

    assert page.evaluate("document.getAnimations().length") == 0


def test_a_part_that_cannot_be_loaded_says_so_and_the_page_can_be_loaded_again(tab: Opener, stage: Stage) -> None:
    page = open_consumer(tab, stage)
    page.route("**/throttler.js", lambda route: route.abort())
    page.locator("#tab-throttler").click()

    expect(page.locator(".tab")).to_contain_text("This part of the page could not be loaded.")
    page.unroute("**/throttler.js")
    page.get_by_role("button", name="Load the page again").click()
    expect(page.locator(".chart")).to_be_visible()


def test_a_part_that_does_not_come_says_so_and_is_shown_when_it_comes_after_all(tab: Opener, stage: Stage) -> None:
    page = open_consumer(tab, stage)
    kept: list[Any] = []
    page.route("**/options.js", lambda route: kept.append(route))  # noqa: PLW0108 - playwright marks the function
    page.clock.install()
    page.locator("#tab-options").click()
    expect(page.locator(".tab")).to_contain_text("Loading")
    page.clock.fast_forward(16_000)

    expect(page.locator(".tab")).to_contain_text("This part of the page could not be loaded.")
    kept[0].continue_()
    expect(page.locator(".options")).to_contain_text("concurrency")


def test_a_stream_that_says_nothing_is_opened_again(tab: Opener, stage: Stage) -> None:
    """Its connection may be dead, which no browser says: a laptop slept, or a router has forgotten it."""
    page = tab(stage.url("calm"))
    expect(page.locator(".status.live")).to_be_visible()
    silent: list[Any] = []
    page.route("**/api/stream*", lambda route: route.continue_() if silent else silent.append(route))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # it opens the stream again
    expect(page.locator(".status.stale")).to_be_visible(timeout=15_000)
    page.clock.install()
    page.clock.fast_forward(16_000)

    expect(page.locator(".status.live")).to_be_visible(timeout=15_000)


def test_a_backlog_is_unknown_fresh_or_out_of_date(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("aged"))
    row = page.locator("tr.whole")
    backlog = row.locator("td[data-label=backlog]")

    expect(backlog.nth(0)).to_have_text("\N{EN DASH}")
    expect(backlog.nth(1)).to_contain_text(re.compile(r"→ \d+ s to clear"))
    expect(backlog.nth(3)).to_have_text("0empty")
    expect(backlog.nth(2)).to_contain_text("out of date, from")
    expect(row.nth(2).locator("td[data-label=backlog].warn, td[data-label=backlog].bad")).to_have_count(0)
    expect(row.nth(3).locator("td[data-label='lag p95']")).to_have_text("\N{EN DASH}")


def test_a_state_of_another_version_loads_the_page_again(tab: Opener, stage: Stage) -> None:
    page = tab(stage.url("calm"))
    expect(page.locator("tr.whole")).to_have_count(4)
    page.evaluate("window.before = true")

    stage.version = "9.9.9"

    expect(page.locator(".version")).to_have_text("9.9.9")
    expect(page.locator("tr.whole")).to_have_count(4)
    assert page.evaluate("window.before") is None
