"""A room on one server: how soon pages come, how soon a bystander is served, what closed windows leave behind, what it takes.

Against a server of its own over its websocket; figures that no other tool has a twin of are ratios to the same with one window.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.rows import Row, report
from tests.browser.conftest import running_server
from tests.helpers.visitor import Visitor

PEOPLE, MANY = 30, 100


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes once."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@contextmanager
def server() -> Iterator[tuple[str, psutil.Process]]:
    """A server that has drawn its first page."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as address:
        port = int(address.rsplit(":", 1)[1])
        [process] = [
            each
            for each in psutil.process_iter(["cmdline"])
            if str(port) in (each.info["cmdline"] or []) and "streamlit" in (each.info["cmdline"] or [])
        ]
        for page in ("", "Heads", "Verdicts"):
            with Visitor(address, page, {"model": "two-layer"}) as visitor:
                visitor.until_still(120)
        yield address, process


def health(address: str) -> float:
    """How long the health check takes."""
    return seconds(lambda: urllib.request.urlopen(f"{address}/_stcore/health", timeout=60).read())


def busy_seconds(process: psutil.Process) -> float:
    """Processor time that the server has had."""
    used = process.cpu_times()
    return float(used.user + used.system)


def opened(address: str, page: str, count: int) -> list[float]:
    """How long each of `count` windows waits for a page whose results are kept, all opened at once."""

    def one(_: int) -> float:
        begin = time.perf_counter()
        with Visitor(address, page, {"model": "two-layer"}) as visitor:
            visitor.until_drawn(120)
            return time.perf_counter() - begin

    with ThreadPoolExecutor(count) as room:
        return list(room.map(one, range(count)))


def page_rows(address: str, process: psutil.Process) -> list[Row]:
    """Pages from kept results, for one window and for a room."""
    rows = []
    for page in ("", "Verdicts"):
        before = busy_seconds(process)
        alone = statistics.median(opened(address, page, 1)[0] for _ in range(5))
        each = (busy_seconds(process) - before) / 5
        for count in (PEOPLE, MANY):
            times = opened(address, page, count)
            beside = f"alone {alone:.2f} s, {1000 * each:.0f} ms of work a view; median {statistics.median(times):.2f} s"
            name = f"{count} windows on {page or 'Home'}: last drawn, over one window alone"
            rows.append(Row(name, max(times) / alone, beside=f"{beside}, last {max(times):.2f} s"))
    return rows


def health_row(address: str, process: psutil.Process) -> Row:
    """The health check beside a hundred open windows, and what they hold."""
    quiet = statistics.median(health(address) for _ in range(9))
    files, memory = process.num_fds(), process.memory_info().rss
    with ExitStack() as windows, ThreadPoolExecutor(MANY) as room:
        visitors = [windows.enter_context(Visitor(address, "Heads", {"model": "two-layer"})) for _ in range(MANY)]
        drawing = [room.submit(visitor.until_drawn, 120) for visitor in visitors]
        worst = max(health(address) for _ in range(20))
        for each in drawing:
            each.result()
        more = (process.num_fds() - files) / MANY
        held = (process.memory_info().rss - memory) / MANY / 1e6
    beside = f"worst {1000 * worst:.0f} ms; a session holds {more:.1f} descriptors and {held:.1f} MB"
    return Row(f"health check while {MANY} windows open, over a quiet server", worst / quiet, beside=beside)


def bystander_row(address: str) -> Row:
    """A small question beside twenty long ones of one person, over the same question alone."""

    def small(seed: int) -> float:
        def ask() -> None:
            with Visitor(address, "Heads", {"model": "two-layer", "length": "20", "sequences": "2", "seed": str(seed)}) as one:
                one.until_still(120, quiet=0.0)

        return seconds(ask)

    alone = small(1)
    with ExitStack() as windows:
        for count in range(20):
            asked = {"model": "by-construction", "length": "100", "sequences": str(700 + count)}
            windows.enter_context(Visitor(address, "Heads", asked, browser="greedy")).until_drawn()
        beside = small(2)
    return Row("a small question beside 20 long ones of one person, over alone", beside / alone, beside=f"{beside:.1f} s")


def closed_row(address: str, process: psutil.Process) -> Row:
    """Twenty long links whose windows are all closed: the share of a processor that is still busy 40 s later."""
    with ExitStack() as windows:
        for count in range(20):
            asked = {"model": "by-construction", "length": "100", "sequences": str(900 + count)}
            windows.enter_context(Visitor(address, "Heads", asked)).until_drawn()
    time.sleep(40)
    before = busy_seconds(process)
    time.sleep(5)
    return Row("20 long links, all closed: processors busy 40 s later", (busy_seconds(process) - before) / 5)


def main() -> list[Row]:
    """Every row, printed."""
    with server() as (address, process):
        rows = page_rows(address, process)
        rows.append(health_row(address, process))
        rows.append(bystander_row(address))
        rows.append(closed_row(address, process))
    return report("A room on one server", rows)


if __name__ == "__main__":
    main()
