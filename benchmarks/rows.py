"""What a benchmark found: ratios with their goals, printed as one table, pass or fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One ratio (or amount) and what it should be: at most `goal`, or at least, where `at_least`; no goal, no verdict."""

    what: str
    measured: float
    goal: float | None = None
    at_least: bool = False
    unit: str = "x"
    beside: str = ""

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        reached = self.measured >= self.goal if self.at_least else self.measured <= self.goal
        return "pass" if reached else "FAIL"


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table that can be pasted into a document."""
    lines = ["| what | measured | goal | | beside it |", "|---|---|---|---|---|"]
    for row in rows:
        goal = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:.3g} {row.unit}"
        lines.append(f"| {row.what} | **{row.measured:.2f} {row.unit}** | {goal} | {row.verdict} | {row.beside} |")
    return "\n".join(lines)


def report(title: str, rows: Sequence[Row]) -> list[Row]:
    """Print a section as soon as it is measured; gives the rows back."""
    print(f"\n## {title}\n\n{markdown(rows)}", flush=True)
    return list(rows)
