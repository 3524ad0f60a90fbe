"""Server start to first heat map, in a real browser, on a fresh process with an empty store.

Nothing looks into the browser while it loads: a browser that is being debugged works out the place of every error that
the drawing library throws and catches while it starts, which takes longer than all the rest of that library's start. It
is told by a plain request to open the page, and asked afterwards when the page's own mark was set.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from playwright.sync_api import Playwright, sync_playwright

from benchmarks.rows import Row, report
from tests.helpers.browser import FLAGS, find_browser

ROOT = Path(__file__).resolve().parents[1]
GOAL_SECONDS = 4.0
# By then the page is drawn, also on a slow machine; asking again costs nothing.
_LOOK_AFTER_SECONDS = 8.0
_WHEN = """() => {
    const [mark] = performance.getEntriesByName("panel-heatmap drawn");
    return mark ? (performance.timeOrigin + mark.startTime) / 1000 : null;
}"""


def seconds_to_first_heat_map(runs: int = 5) -> list[float]:
    """Each run starts the server anew; a fresh browser is started before the clock."""
    with sync_playwright() as playwright:
        return [_one_start(playwright) for _ in range(runs)]


def _one_start(playwright: Playwright) -> float:
    with ExitStack() as stack:
        store = stack.enter_context(tempfile.TemporaryDirectory())
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        debugging, port = _free_port(), _free_port()
        executable = find_browser()
        assert executable is not None, "no Chromium"
        browser = [executable, "--headless", *FLAGS, f"--remote-debugging-port={debugging}", f"--user-data-dir={profile}"]
        stack.enter_context(_running([*browser, "about:blank"]))
        _answer_of(f"http://127.0.0.1:{debugging}/json/version")
        time.sleep(1)
        server = ["-m", "core", "run", "--address", "127.0.0.1", "--port", str(port)]
        begin = time.time()
        stack.enter_context(_running([sys.executable, *server], HEADSCOPE_STORE=store))
        _answer_of(f"http://127.0.0.1:{port}/_stcore/health")
        opened = Request(f"http://127.0.0.1:{debugging}/json/new?http://127.0.0.1:{port}/Heads", method="PUT")
        urlopen(opened, timeout=10).read()
        time.sleep(_LOOK_AFTER_SECONDS)
        return _when_drawn(playwright, debugging) - begin


def _when_drawn(playwright: Playwright, debugging: int) -> float:
    browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{debugging}")
    try:
        [page] = [page for context in browser.contexts for page in context.pages if page.url.endswith("/Heads")]
        page.wait_for_function(f"() => ({_WHEN})() !== null", timeout=60_000)
        return float(page.evaluate(_WHEN))
    finally:
        browser.close()


@contextmanager
def _running(command: list[str], **environment: str) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answer_of(address: str) -> None:
    """Wait until something answers there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urlopen(address, timeout=1) as answer:
                answer.read()
                return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing answers at {address}")


def main() -> list[Row]:
    """The median of the starts, and the goal."""
    found = sorted(seconds_to_first_heat_map())
    every = ", ".join(f"{seconds:.1f}" for seconds in found)
    median = statistics.median(found)
    return report("Cold start", [Row("server start to first heat map", median, GOAL_SECONDS, unit="s", beside=every)])


if __name__ == "__main__":
    main()
