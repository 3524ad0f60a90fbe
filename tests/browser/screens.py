"""Every page as it is seen, as pictures in `screenshots/`: both themes on a usual screen, and a telephone.

`make screenshots` looks at a server of its own with the bundled model: python -m tests.browser.screens [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import ROOT, running_server
from tests.helpers.browser import FLAGS, find_browser
from tests.helpers.screen import finished

PAGES = ("", *sorted(path.stem.partition("_")[2] for path in (ROOT / "pages").glob("*.py")))
# The model's best head: a card and an attention pattern with something to see.
ADDRESS = "model=mixture&head=L1H3"
SIZES = {"1400": (1400, 900), "390": (390, 844)}


def whole(page: Page) -> None:
    """Make the window as tall as the page, which scrolls inside it."""
    height = page.evaluate("() => document.querySelector('.stMain').scrollHeight")
    width = page.viewport_size["width"] if page.viewport_size else 1400
    page.set_viewport_size({"width": width, "height": height + 10})
    # Figures and words settle in their new places.
    page.wait_for_timeout(1000)


def take(browser: Browser, address: str, folder: Path) -> None:
    """A picture of every page, theme and width."""
    for scheme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
            )
            page = context.new_page()
            for name in PAGES:
                page.set_viewport_size({"width": width, "height": height})
                page.goto(f"{address}/{name}?{ADDRESS}")
                page.get_by_role("heading", level=1).wait_for(timeout=90_000)
                finished(page)
                whole(page)
                page.screenshot(path=folder / f"{name or 'Home'}-{size}-{scheme}.png")
            context.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    # Before Playwright is started: looking for a browser starts it, too.
    found = find_browser()
    if found is None:
        sys.exit("No Chromium was found: `make browser` brings one in.")
    with tempfile.TemporaryDirectory() as store, running_server(Path(store)) as address, sync_playwright() as playwright:
        take(playwright.chromium.launch(executable_path=found, headless=True, args=FLAGS), address, folder)
    print(folder)
