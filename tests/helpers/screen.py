"""What a person does with a page, for the browser tests: clicks in figures, steps back, and patience."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def only(found: Locator) -> Locator:
    """The one that there is: while a page is drawn again, what was there before can stay beside it for a moment, pale."""
    expect(found).to_have_count(1)
    return found


def figure(page: Page, key: str) -> Locator:
    """The picture of a panel, once it is drawn."""
    found = only(page.locator(f".st-key-panel-{key} .js-plotly-plot"))
    expect(found).to_be_visible()
    return found


def click_figure(page: Page, key: str, x: float, y: float) -> None:
    """Click at a place of a figure, in its own coordinates, once it is drawn and stands still: it may be just replaced."""
    place = page.locator(f".st-key-panel-{key}").evaluate(
        """async (panel, [x, y]) => {
            let before;
            for (let look = 0; look < 600; look += 1) {
                const [plot, ...others] = panel.querySelectorAll(".js-plotly-plot");
                let now;
                if (plot?._fullLayout?.xaxis?.c2p && !others.length) {
                    plot.scrollIntoView({ block: "center", behavior: "instant" });
                    const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
                    now = [box.x + xaxis._offset + xaxis.c2p(x), box.y + yaxis._offset + yaxis.c2p(y)];
                    if (before?.plot === plot && before.place.join() === now.join()) return now;
                }
                before = now && { plot, place: now };
                await new Promise((resolve) => setTimeout(resolve, 100));
            }
            throw new Error("the figure does not come to rest");
        }""",
        [x, y],
    )
    page.mouse.move(*place)
    page.mouse.click(*place)


def go_back(page: Page) -> None:
    """One step back in the browser's history.

    Playwright's own asks the browser process, which may not know yet of a step that the page has just made.
    """
    page.evaluate("() => history.back()")


def count_progress(page: Page) -> None:
    """Count from now on, in `window.progressSeen`, how often the page shows that work is under way."""
    page.evaluate(
        """() => {
            window.progressSeen = 0;
            new MutationObserver(() => {
                if (document.querySelector('[data-testid="stProgress"]')) window.progressSeen += 1;
            }).observe(document.body, { childList: true, subtree: true });
        }"""
    )


def finished(page: Page) -> None:
    """Wait until no work is under way any more: for two seconds, as one piece of work can follow another."""
    quiet = 0
    for _ in range(400):
        busy = page.get_by_role("button", name="Cancel").count() or page.get_by_test_id("stProgress").count()
        quiet = 0 if busy else quiet + 1
        if quiet == 8:
            return
        page.wait_for_timeout(250)
    raise AssertionError("work is still under way after 100 seconds")


def calm(page: Page) -> None:
    """Wait until no work is under way and the page has been drawn: for half a second."""
    page.wait_for_function(
        """() => {
            const busy = [...document.querySelectorAll("button")].some((button) => button.textContent.endsWith("Cancel")) ||
                document.querySelector('[data-testid="stProgress"], [data-test-script-state="running"], [data-stale="true"]');
            const now = performance.now();
            if (busy || window.calmAt === undefined) window.calmAt = now;
            const calm = !busy && now - window.calmAt > 500;
            if (calm) window.calmAt = undefined;
            return calm;
        }""",
        timeout=90_000,
    )


def place_of_head(page: Page, key: str, apart_from: str) -> tuple[str, float, float]:
    """The name of some other head of a figure, and where it is on screen once nothing above it comes or goes any more."""
    found = _place_of_head(page, key, apart_from)
    for _ in range(50):
        page.wait_for_timeout(150)
        before, found = found, _place_of_head(page, key, apart_from)
        if found is not None and found == before:
            return found
    raise AssertionError(f"the figure {key} does not come to rest")


def _place_of_head(page: Page, key: str, apart_from: str) -> tuple[str, float, float] | None:
    """None while the figure is just being drawn."""
    place = figure(page, key).evaluate(
        """(plot, other) => {
            if (!plot._fullData?.length || !plot._fullLayout?.xaxis) return null;
            plot.scrollIntoView({ block: "center", behavior: "instant" });
            const heads = plot._fullData.findLast((trace) => trace.name === "heads"), box = plot.getBoundingClientRect();
            const listed = (values) => Array.from(values._inputArray ?? values);
            const { xaxis, yaxis } = plot._fullLayout, names = listed(heads.customdata);
            const i = names.findLastIndex((name) => name !== other);
            const x = box.x + xaxis._offset + xaxis.d2p(listed(heads.x)[i]);
            return [names[i], x, box.y + yaxis._offset + yaxis.d2p(listed(heads.y)[i])];
        }""",
        apart_from,
    )
    if place is None:
        return None
    name, x, y = place
    return str(name), float(x), float(y)


def show_to_everybody(teacher: Page, name: str) -> None:
    """Choose a page on the teacher's one, of the model `two-layer`, and show it."""
    chosen = teacher.get_by_role("combobox", name="Page", exact=True)
    chosen.focus()
    teacher.keyboard.type(name)
    teacher.keyboard.press("Enter")
    expect(teacher.get_by_test_id("stCode")).to_contain_text(f"/{name}?model=two-layer")
    teacher.get_by_role("button", name="Show this to everybody").click()
