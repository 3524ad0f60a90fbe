"""Listening to progress: what work reports while it runs."""

from __future__ import annotations

from core.runtime.jobs import JobControl


class Heard(JobControl):
    """Keeps every report, share done and message, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[float, str]] = []

    def report(self, fraction: float, message: str) -> None:
        self.said.append((fraction, message))

    @property
    def shares(self) -> list[float]:
        """The shares alone."""
        return [share for share, _ in self.said]
