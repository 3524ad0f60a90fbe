"""A Chromium for the browser tests: the system's own, else one from the package manager, else Playwright's.

`python -m tests.helpers.browser --install` brings one in, or says in one sentence what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# The one without windows of its own takes a quarter less of the processor.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    # Pages are drawn by the processor either way: by one step less.
    "--disable-software-rasterizer",
    "--disable-gpu-compositing",
    "--disable-threaded-animation",
    "--disable-threaded-scrolling",
    "--disable-checker-imaging",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_browser() -> str | None:
    """The path of a Chromium that can be started, or None."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            own = playwright.chromium.executable_path
    except Exception:
        return None
    return own if Path(own).exists() else None


def install() -> str | None:
    """Bring a Chromium in by the machine's package manager, or by Playwright; what was found, or None."""
    attempts = []
    if shutil.which("apt-get"):
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        attempts.append([*prefix, "apt-get", "update"])
        attempts += [[*prefix, "apt-get", "install", "-y", name] for name in NAMES[:2]]
    attempts.append([sys.executable, "-m", "playwright", "install", "chromium"])
    for command in attempts:
        print("browser:", " ".join(command), file=sys.stderr)
        # A step that fails is not the end: the next one may bring a browser.
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if found := find_browser():
            return found
    return None


if __name__ == "__main__":
    path = find_browser() or (install() if "--install" in sys.argv else None)
    if path is None:
        sys.exit("No Chromium was found and none could be installed: install the package 'chromium' and run `make test` again.")
    print(path)
