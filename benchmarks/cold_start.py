"""Server start to first heat map, in a real browser, on a fresh process with an empty store."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

from benchmarks.rows import Row, report
from tests.helpers.browser import FLAGS, find_browser

ROOT = Path(__file__).resolve().parents[1]
GOAL_SECONDS = 4.0


def seconds_to_first_heat_map(runs: int = 5) -> list[float]:
    """Each run starts the server anew; the browser is started before the clock."""
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for _ in range(runs):
            found.append(_one_start(browser))
        browser.close()
    return found


def _one_start(browser) -> float:  # type: ignore[no-untyped-def]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as store:
        environment = {**os.environ, "HEADSCOPE_STORE": store}
        begin = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "127.0.0.1", "--server.port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        page = browser.new_page()
        try:
            _wait_for_health(port)
            page.goto(f"http://127.0.0.1:{port}/Heads")
            page.locator(".heatmaplayer, .hm").first.wait_for(state="attached", timeout=60_000)
            return time.perf_counter() - begin
        finally:
            page.close()
            server.kill()
            server.wait()


def _wait_for_health(port: int) -> None:
    for _ in range(600):
        try:
            with urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
                if answer.read() == b"ok":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the server did not start")


def main() -> list[Row]:
    """The median of the starts, and the goal."""
    found = sorted(seconds_to_first_heat_map())
    every = ", ".join(f"{seconds:.1f}" for seconds in found)
    median = statistics.median(found)
    return report("Cold start", [Row("server start to first heat map", median, GOAL_SECONDS, unit="s", beside=every)])


if __name__ == "__main__":
    main()
