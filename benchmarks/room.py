"""A room on one server: how soon pages come, how soon a bystander is served, what closed windows leave behind, what it takes.

    python -m benchmarks.room [--rows pages,opening,drags,...] [--people 30]

Against a server of its own over its websocket; figures that no other tool has a twin of are ratios to the same with one window.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.rows import Row, report
from tests.browser.conftest import running_server
from tests.helpers.processes import server_at
from tests.helpers.visitor import Visitor

PEOPLE, MANY = 30, 100
KEPT = {"model": "two-layer"}
# What docs/deployment.md states: of the whole server, the default model and a small one in memory.
MEMORY_GB = {PEOPLE: 1.0, MANY: 1.25}


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes once."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@contextmanager
def server() -> Iterator[tuple[str, psutil.Process]]:
    """A server that has drawn its first page."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as address:
        for page in ("", "Heads", "Verdicts"):
            with Visitor(address, page, KEPT) as visitor:
                visitor.until_still(120)
        yield address, server_at(address)


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
        with Visitor(address, page, KEPT) as visitor:
            visitor.until_drawn(120)
            return time.perf_counter() - begin

    with ThreadPoolExecutor(count) as room:
        return list(room.map(one, range(count)))


@contextmanager
def room_of(address: str, page: str, count: int) -> Iterator[list[Visitor]]:
    """So many windows on a page whose results are kept, all drawn."""
    with ExitStack() as windows, ThreadPoolExecutor(count) as room:
        visitors = [windows.enter_context(Visitor(address, page, KEPT)) for _ in range(count)]
        list(room.map(lambda visitor: visitor.until_drawn(120), visitors))
        yield visitors


def page_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """Pages from kept results, for one window and for a room."""
    rows = []
    for page in ("", "Verdicts"):
        before = busy_seconds(process)
        alone = statistics.median(opened(address, page, 1)[0] for _ in range(5))
        each = (busy_seconds(process) - before) / 5
        for count in (people, MANY):
            times = opened(address, page, count)
            beside = f"alone {alone:.2f} s, {1000 * each:.0f} ms of work a view; median {statistics.median(times):.2f} s"
            name = f"{count} windows on {page or 'Home'}: last drawn, over one window alone"
            rows.append(Row(name, max(times) / alone, beside=f"{beside}, last {max(times):.2f} s"))
    return rows


def opening_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """A room that opens the heat map at once."""
    times = opened(address, "Heads", people)
    beside = f"median {statistics.median(times):.2f} s"
    return [Row(f"{people} windows open the heat map at once: last drawn", max(times), 3.0, unit="s", beside=beside)]


def drag_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """A room that drags the threshold, three times: each within the same two seconds, and all in the same moment."""

    def dragged(visitors: list[Visitor], at: float, spread: float) -> list[float]:
        def one(number: int) -> float:
            time.sleep(spread * number / people)
            return seconds(lambda: visitors[number].move("Threshold", at))

        with ThreadPoolExecutor(people) as room:
            return list(room.map(one, range(people)))

    with room_of(address, "Heads", people) as visitors:
        spread = [taken for at in (0.3, 0.55, 0.7) for taken in dragged(visitors, at, 2.0)]
        at_once = [taken for at in (0.35, 0.6, 0.75) for taken in dragged(visitors, at, 0.0)]
    beside = f"slowest {max(spread):.2f} s; all in one moment: median {statistics.median(at_once):.2f} s, {max(at_once):.2f} s"
    name = f"{people} windows drag the threshold within two seconds: median until drawn"
    return [Row(name, statistics.median(spread), 0.3, unit="s", beside=beside)]


def ablation_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """Different ablations on SmolLM2, one a window: everybody sees progress and a place in line, and all are done."""

    def one(number: int) -> Visitor:
        asked = {
            "model": "smollm2-135m",
            "length": "24",
            "sequences": "2",
            "set": "picked",
            "heads": f"L{number % 30}H{number % 9}",
        }
        with Visitor(address, "Ablation", asked) as visitor:
            return visitor.until_still(3600)

    begin = time.perf_counter()
    with ThreadPoolExecutor(people) as room:
        done = list(room.map(one, range(people)))
    took = time.perf_counter() - begin
    seen = sum(bool(each.progress) for each in done)
    placed = sum(any("in line" in text for text in each.progress) for each in done)
    well = sum(not each.errors for each in done)
    beside = f"all after {took:.0f} s; {seen} saw progress, {placed} a place in line"
    name = f"{people} different ablations on SmolLM2 at once: done without an error"
    return [Row(name, well, people, at_least=True, unit="windows", beside=beside)]


def health_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """The health check beside a hundred open windows, and what they hold."""
    quiet = statistics.median(health(address) for _ in range(9))
    files, memory = process.num_fds(), process.memory_info().rss
    with ExitStack() as windows, ThreadPoolExecutor(MANY) as room:
        visitors = [windows.enter_context(Visitor(address, "Heads", KEPT)) for _ in range(MANY)]
        drawing = [room.submit(visitor.until_drawn, 120) for visitor in visitors]
        worst = max(health(address) for _ in range(20))
        for each in drawing:
            each.result()
        more = (process.num_fds() - files) / MANY
        held = (process.memory_info().rss - memory) / MANY / 1e6
    beside = f"quiet {1000 * quiet:.0f} ms; a session holds {more:.1f} descriptors and {held:.1f} MB"
    return [Row(f"health check while {MANY} windows open: the slowest of 20", worst, 0.5, unit="s", beside=beside)]


def memory_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """What the whole server takes with so many windows open, each having been on three pages."""
    rows = []
    for count in (PEOPLE, MANY):
        for page in ("", "Verdicts"):
            opened(address, page, count)
        with room_of(address, "Heads", count):
            taken = process.memory_info().rss / 1e9
        name = f"memory of the server with {count} windows open"
        rows.append(Row(name, taken, MEMORY_GB[count], unit="GB", beside=f"{process.num_threads()} threads"))
        gc.collect()
    return rows


def bystander_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """A small question beside twenty long ones of one person, over the same question alone."""

    def small(seed: int) -> float:
        def ask() -> None:
            asked = KEPT | {"length": "20", "sequences": "2", "seed": str(seed)}
            with Visitor(address, "Heads", asked) as one:
                one.until_still(120, quiet=0.0)

        return seconds(ask)

    alone = small(1)
    with ExitStack() as windows:
        for count in range(20):
            asked = {"model": "by-construction", "length": "100", "sequences": str(700 + count)}
            windows.enter_context(Visitor(address, "Heads", asked, browser="greedy")).until_drawn()
        beside = small(2)
    return [Row("a small question beside 20 long ones of one person, over alone", beside / alone, beside=f"{beside:.1f} s")]


def closed_rows(address: str, process: psutil.Process, people: int) -> list[Row]:
    """Twenty long links whose windows are all closed: the share of a processor that is still busy 40 s later."""
    with ExitStack() as windows:
        for count in range(20):
            asked = {"model": "by-construction", "length": "100", "sequences": str(900 + count)}
            windows.enter_context(Visitor(address, "Heads", asked)).until_drawn()
    time.sleep(40)
    before = busy_seconds(process)
    time.sleep(5)
    return [Row("20 long links, all closed: processors busy 40 s later", (busy_seconds(process) - before) / 5)]


ROWS: dict[str, Callable[[str, psutil.Process, int], list[Row]]] = {
    "memory": memory_rows,
    "pages": page_rows,
    "opening": opening_rows,
    "drags": drag_rows,
    "health": health_rows,
    "bystander": bystander_rows,
    "closed": closed_rows,
    "ablations": ablation_rows,
}


def main(arguments: Sequence[str] = ()) -> list[Row]:
    """The rows that are asked for, all by default, printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.room", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}, with commas between them")
    parser.add_argument("--people", type=int, default=PEOPLE, help="windows of the room")
    options = parser.parse_args(arguments)
    wanted = options.rows.split(",")
    if not set(wanted) <= set(ROWS):
        parser.error(f"--rows must be some of {', '.join(ROWS)}, not {options.rows}")
    with server() as (address, process):
        rows = [row for name in wanted for row in ROWS[name](address, process, options.people)]
    return report("A room on one server", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
