"""What a person does with a page, for the browser tests: clicks in figures, steps back, and patience."""

from __future__ import annotations

from playwright.sync_api import Page


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
