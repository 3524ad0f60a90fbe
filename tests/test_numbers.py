"""Numbers as people read them: enough digits to show what is claimed of them."""

from __future__ import annotations

import ast
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest

from core.numbers import at_most, beside, counted, digits_that_add_up, is_or_are, share, with_interval

ROOT = Path(__file__).resolve().parents[1]
SEVERAL = r"(?:heads|sequences|edges|sets|windows|thresholds|layers|computations)\b"
PLURAL = re.compile(rf"^ (?:(?:other|head|induction|previous-token|matching|earlier|highest) )?{SEVERAL}")
PLURAL_IN_HOVER = re.compile(rf"%\{{[^}}]*\}} {SEVERAL}")


@pytest.mark.parametrize(
    "number,levels,written",
    [
        ((0.03, 0.012, 0.0493), (), "0.03 (0.01 to 0.05)"),
        ((0.03, 0.012, 0.0493), (0.05,), "0.030 (0.012 to 0.049)"),
        ((0.04, 0.031, 0.0514), (0.05,), "0.040 (0.031 to 0.051)"),
        ((0.04, 0.031, 0.05), (0.05,), "0.04 (0.03 to 0.05)"),
        ((0.91, 0.9, 0.92), (0.2,), "0.91 (0.90 to 0.92)"),
        # Nothing but rounding lies between this end and the level.
        ((0.01, 1e-9, 0.02), (0.0,), "0.01 (0.00 to 0.02)"),
        # Whoever shows it says why there is no interval.
        ((0.5, math.nan, math.nan), (0.5,), "0.50"),
    ],
)
def test_an_end_is_written_on_its_side_of_a_level(
    number: tuple[float, float, float], levels: tuple[float, ...], written: str
) -> None:
    assert with_interval(*number, *levels) == written


def test_a_share_is_written_on_its_side_of_a_level() -> None:
    assert (share(0.253), share(0.253, 0.25), share(0.2496, 0.25), share(0.25, 0.25)) == ("25 %", "25.3 %", "24.96 %", "25 %")


def test_a_number_is_written_on_its_side_of_a_level() -> None:
    assert (beside(0.5004, 0.5), beside(0.4996, 0.3, 0.5), beside(0.5, 0.5), beside(0.7, 0.5)) == (
        "0.5004",
        "0.4996",
        "0.50",
        "0.70",
    )
    assert beside(math.nan, 0.5) == "–" and beside(0.04999, 0.05, digits=4) == "0.04999"


@pytest.mark.parametrize(
    "first,last,digits",
    [
        (0.01, 0.05, 2),
        # 0.01 to 0.05 would be told to be 0.05 apart.
        (0.0071, 0.0539, 3),
        (0.366, 0.413, 3),
        (-0.204, 0.204, 3),
        (0.5, 0.5, 2),
        (math.nan, 0.5, 2),
    ],
)
def test_a_change_is_what_its_ends_make_as_they_are_written(first: float, last: float, digits: int) -> None:
    assert digits_that_add_up(first, last - first, last) == digits


def test_one_is_not_several() -> None:
    assert [counted(count, "head") for count in (0, 1, 2)] == ["0 heads", "1 head", "2 heads"]
    assert [is_or_are(count) for count in (0, 1, 2)] == ["are", "is", "are"]


def uncounted(code: str) -> list[str]:
    """What stands in `code` as a number and a plural, of which there may be one: `{count} heads`.

    A constant has a value that is known, what follows an `else` has been asked for its number, and an error that tells a
    programmer of a shape is read by none else.
    """
    tree = ast.parse(code)
    excused: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp):
            excused.update(ast.walk(node.orelse))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            excused.update(ast.walk(node) if ast.unparse(node.exc.func) in ("ValueError", "RuntimeError") else ())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += PLURAL_IN_HOVER.findall(node.value)
        if isinstance(node, ast.JoinedStr) and node not in excused:
            for value, after in pairwise(node.values):
                if not isinstance(value, ast.FormattedValue) or value.format_spec or not isinstance(after, ast.Constant):
                    continue
                plural, what = PLURAL.match(str(after.value)), ast.unparse(value.value)
                if plural and not what.isupper() and not what.startswith("short_count("):
                    found.append(f"{{{what}}}{plural.group()}")
    return found


def test_a_count_before_a_plural_is_counted() -> None:
    paths = [path for folder in ("core", "pages") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): uncounted(path.read_text()) for path in paths}
    assert len(found) > 300 and {path: plurals for path, plurals in found.items() if plurals} == {}


def test_an_uncounted_plural_is_found() -> None:
    assert uncounted('f"{len(heads)} heads are above"') == ["{len(heads)} heads"]
    assert uncounted('f"of the {few} other sets"; "%{y} heads from %{x}"') == ["{few} other sets", "%{y} heads"]
    assert uncounted('"1 set" if few == 1 else f"{few} sets"; f"{MOST} sets, {counted(few, \'set\')}"') == []


def test_what_is_no_more_than_a_number_is_not_more() -> None:
    assert (at_most(0.0206), at_most(0.02), at_most(0.1 + 0.2), at_most(0.0)) == ("0.03", "0.02", "0.30", "0.00")
