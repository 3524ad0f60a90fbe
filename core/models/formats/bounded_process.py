"""A few lines of Python in a process of their own, which may come to no end, or to a bad one, without harm to this one."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

_POLL_SECONDS = 0.1


class TookTooLong(Exception):
    """It had not ended in the time that it was given, and was stopped."""


@dataclass(frozen=True)
class Ended:
    """returncode: negative for a process that a signal has stopped."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run_bounded(code: str, *arguments: str, seconds: float) -> Ended:
    """Run `code` with `arguments` in a Python of its own, which looks for modules neither here nor where the person has said.

    While it runs, this thread's turn to compute is somebody else's.

    Raises TookTooLong, and JobCancelled where nobody wants what it is for any more.
    """
    # Here and not above: what shows a model's name needs no jobs.
    from core.runtime.jobs import current_control

    control = current_control()
    command = [sys.executable, "-I", "-c", code, *arguments]
    with control.waiting():
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + seconds
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=_POLL_SECONDS)
                    return Ended(process.returncode, output, errors)
                except subprocess.TimeoutExpired:
                    control.raise_if_cancelled()
                    if time.monotonic() >= deadline:
                        raise TookTooLong from None
        finally:
            process.kill()
            process.wait()
