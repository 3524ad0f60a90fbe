"""The pictures in README.md and docs/tutorial.md, taken of the pages as they are: `make pictures`.

A server of its own, bundled models, and for the teacher's page three windows that are somewhere in the tour.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import ROOT, running_server
from tests.helpers.browser import FLAGS, find_browser
from tests.helpers.screen import finished, show_to_everybody

DOCS = ROOT / "docs"
DESK, TELEPHONE = (1280, 800), (390, 844)


def opened(browser: Browser, address: str, size: tuple[int, int] = DESK) -> Page:
    """A window of its own, once nothing on its page is under way."""
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for(timeout=90_000)
    finished(page)
    return page


def keep(page: Page, name: str, width: int | None = None) -> None:
    """What is seen of it, `width` pixels wide and then in few colours; else as it is."""
    shot = page.screenshot()
    if width is not None:
        picture = Image.open(io.BytesIO(shot)).convert("RGB")
        small = picture.resize((width, round(width * picture.height / picture.width)), Image.Resampling.LANCZOS)
        small.quantize(128).save(DOCS / name, optimize=True)
        return
    (DOCS / name).write_bytes(shot)


def take(browser: Browser, server: str) -> None:
    """Every picture, one after the other."""
    heads = opened(browser, f"{server}/Heads?model=mixture&head=L1H3", (1400, 900))
    keep(heads, "screenshot-heads.png")
    contrast = opened(browser, f"{server}/Heads?model=by-construction&score=contrast&step=1")
    keep(contrast, "tutorial-heads.png", 960)
    causal = opened(browser, f"{server}/Causal_map?model=two-layer&score=previous_token&step=3")
    keep(causal, "tutorial-causal-map.png", 960)
    tour = opened(browser, f"{server}/Tour?model=two-layer&step=4&done=1,2,3", (1280, 840))
    tour.get_by_text("Pattern", exact=True).click()
    tour.get_by_role("button", name="Check").click()
    expect(tour.get_by_text("Right: pattern ablation")).to_be_visible(timeout=90_000)
    finished(tour)
    keep(tour, "tutorial-tour.png", 960)
    # The teacher counts every window that is open.
    for page in (heads, contrast, causal, tour):
        page.context.close()
    student = opened(browser, f"{server}/Causal_map?model=two-layer&score=previous_token&step=3&done=1,2", TELEPHONE)
    for way in ("Tour?step=2&done=1", "Tour?step=4&done=1,2,3"):
        opened(browser, f"{server}/{way}", TELEPHONE)
    teacher = opened(browser, f"{server}/Teacher?model=two-layer", (1066, 1040))
    expect(teacher.get_by_text("3 windows open")).to_be_visible()
    keep(teacher, "tutorial-teacher.png", 800)
    show_to_everybody(teacher, "Heads")
    expect(student.get_by_text("The teacher shows Heads.")).to_be_visible()
    finished(student)
    keep(student, "tutorial-telephone.png", 300)


if __name__ == "__main__":
    # Before Playwright is started: looking for a browser starts it, too.
    found = find_browser()
    if found is None:
        sys.exit("No Chromium was found: `make browser` brings one in.")
    with tempfile.TemporaryDirectory() as store, running_server(Path(store)) as address, sync_playwright() as playwright:
        take(playwright.chromium.launch(executable_path=found, headless=True, args=FLAGS), address)
    print(DOCS)
