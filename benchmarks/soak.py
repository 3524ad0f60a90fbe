"""A soak: windows come and go for some minutes, and the server's memory, descriptors and threads are watched meanwhile.

    python -m benchmarks.soak --minutes 60

On this machine alone, against a server of its own. Some pages show what is kept, some compute; windows are closed while work is
under way, too. What grows must have come to its level in the first fifth of the time: the rest is to be flat.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from benchmarks.rows import Row, report
from tests.browser.conftest import running_server
from tests.helpers.processes import server_at
from tests.helpers.visitor import Visitor

MINUTES = 5.0
WINDOWS = 6
EVERY_SECONDS = 2.0
# Somebody opens a page so often and no oftener, whatever the machine's speed: Streamlit keeps each closed window for two
# minutes (three descriptors and its state), so a number of windows that goes with the speed would be a level that does, too.
PAGE_SECONDS = 9.0
# Few enough that what is kept of them in memory is all there after the first fifth of an hour.
SEEDS = 40
PAGES = ("", "Heads", "Attention", "Ablation", "Sweep", "Verdicts", "Sensitivity", "Text")
MODELS = ("two-layer", "one-layer", "bigram")
# Of the level after the first fifth: what the last fifth may have more.
MOST_GROWTH = 0.05
WATCHED: dict[str, tuple[str, Callable[[psutil.Process], float]]] = {
    "memory": ("MB", lambda process: process.memory_info().rss / 1e6),
    "descriptors": ("", lambda process: float(process.num_fds())),
    "threads": ("", lambda process: float(process.num_threads())),
}


def come_and_go(address: str, until: float, seed: int, drawn: list[str], wrong: list[str]) -> None:
    """One person who opens windows until the time is over; every third is closed as soon as it is drawn."""
    chance = random.Random(seed)
    while (begun := time.monotonic()) < until:
        asked = {"model": chance.choice(MODELS), "length": "16", "sequences": "2", "seed": str(chance.randrange(SEEDS))}
        with suppress(AssertionError), Visitor(address, chance.choice(PAGES), asked, browser=f"soak {seed}") as visitor:
            visitor.until_drawn(120)
            if chance.random() < 2 / 3:
                visitor.until_still(120)
            wrong += visitor.errors
            drawn.append(visitor.page)
        time.sleep(max(0.0, PAGE_SECONDS - (time.monotonic() - begun)))


def rows_of(samples: dict[str, list[float]], minutes: float, drawn: int) -> list[Row]:
    """For each thing that was watched: the last fifth of the time over the second, and its slope."""
    rows = []
    for name, values in samples.items():
        fifth = max(1, len(values) // 5)
        settled = values[fifth:]
        begin, end = statistics.median(settled[:fifth]), statistics.median(values[-fifth:])
        slope = np.polyfit(np.linspace(0, minutes * len(settled) / len(values) / 60, len(settled)), settled, 1)[0]
        unit = WATCHED[name][0]
        beside = f"start {values[0]:.0f}, {begin:.0f} to {end:.0f} {unit}, slope {slope:+.0f} {unit} an hour; {drawn} pages"
        # One descriptor or thread more or less is one window more or less just then.
        slack = 0 if name == "memory" else 3 * WINDOWS / begin
        row = Row(f"{name} in the last fifth of {minutes:.0f} minutes, over the second", end / begin, 1 + MOST_GROWTH + slack)
        rows.append(
            Row(row.what, row.measured, row.goal, beside=f"{'flat' if row.verdict == 'pass' else 'NOT flat'}: {beside}")
        )
    return rows


def main(arguments: Sequence[str] = ()) -> list[Row]:
    """Soak a server of this call's own; the rows, printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    options = parser.parse_args(arguments)
    samples: dict[str, list[float]] = {name: [] for name in WATCHED}
    drawn: list[str] = []
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as address:
        until = time.monotonic() + 60 * options.minutes
        people = [
            threading.Thread(target=come_and_go, args=(address, until, seed, drawn, wrong), daemon=True)
            for seed in range(WINDOWS)
        ]
        for person in people:
            person.start()
        process = server_at(address)
        while time.monotonic() < until:
            for name, (_, read) in WATCHED.items():
                samples[name].append(read(process))
            time.sleep(EVERY_SECONDS)
        for person in people:
            person.join(150)
    rows = [*rows_of(samples, options.minutes, len(drawn)), Row("pages that said an error", len(wrong), 0, unit="pages")]
    return report("A soak", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
