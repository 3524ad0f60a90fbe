"""Work that says where it was done, for the tests of workers: they import it by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np

from core.errors import BadInput
from core.runtime.cache import cached
from core.runtime.jobs import current_control
from core.runtime.keys import result_key
from core.runtime.store import Stored, default_store


def place() -> tuple[int, str]:
    """This process, and the node of the cluster that it is on."""
    import ray

    return os.getpid(), ray.get_runtime_context().get_node_id()


def steps(diary: Path, count: int, seconds: float) -> float:
    """The sum of `count` results, each kept under a key of its own; the diary says where each was computed."""
    total, control = 0.0, current_control()
    for number in range(count):
        with control.part(number, count, f"step {number + 1}"):
            kept = cached(result_key("errand", diary=str(diary), number=number), partial(_step, diary, number, seconds))
            total += float(kept.arrays["value"])
            control.partial(total)
    return total


def _step(diary: Path, number: int, seconds: float) -> Stored:
    process, node = place()
    _note(diary, f"began {number} {process} {node}")
    time.sleep(seconds)
    _note(diary, f"did {number} {process} {node}")
    return Stored({"value": np.float64(number)}, {})


def endless(diary: Path) -> NoReturn:
    """Until it is stopped, which the diary tells."""
    _note(diary, "began")
    try:
        while True:
            current_control().checkpoint()
            time.sleep(0.02)
    finally:
        _note(diary, "stopped")


def until_there(diary: Path, sign: Path) -> int:
    """Until there is a file of that name; the process that saw it."""
    _note(diary, "began")
    while not sign.exists():
        current_control().checkpoint()
        time.sleep(0.02)
    return os.getpid()


def halted_once(work: Callable[[], object], diary: Path, results: int) -> object:
    """`work`, whose process stands still once the store holds so many results: one process, and the diary says which."""
    control, root = current_control(), default_store().root
    go_on = control.checkpoint

    def halt_or_go_on() -> None:
        if not diary.exists() and sum(1 for _ in root.rglob("*.safetensors")) >= results:
            _note(diary, f"halted {os.getpid()}")
            time.sleep(3600)
        go_on()

    control.checkpoint = halt_or_go_on  # type: ignore[method-assign]
    return work()


def deadly(diary: Path) -> NoReturn:
    """Ends the process that does it."""
    _note(diary, "began")
    os._exit(1)


def refused() -> NoReturn:
    """Raises a sentence for the person."""
    raise BadInput("This cannot be; ask for less.")


def _note(diary: Path, line: str) -> None:
    # One write, so that lines of several processes do not mix.
    with open(diary, "a") as file:
        file.write(line + "\n")
