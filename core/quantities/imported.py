"""Numbers of a paper or of another tool, one a head: read from CSV or JSON that anybody may have written.

Three forms, as CSV (comma, semicolon or tab) or JSON: layer, head and value; a head's name (`L5H7`) and value; a matrix
`[layer][head]`. Nothing in them is run or guessed: a number is a number, and a head that is named twice is an error.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from core.errors import BadInput
from core.heads import Head
from core.numbers import counted

# A hundred layers of a hundred heads, by name and in full precision.
MAX_CHARACTERS = 400_000
# UTF-8 takes at most four bytes a character.
_MAX_BYTES = 4 * MAX_CHARACTERS
_MAX_SHOWN = 40
_MAX_TITLE = 60
_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,4})?", flags=re.ASCII)
_WHOLE = re.compile(r"(\d{1,6})(\.0{1,6})?", flags=re.ASCII)
# `5.7`, `5,7`, `5:7` and `(5, 7)`, as papers and Python write a head.
_PAIR = re.compile(r"\(?\s*(\d{1,6})\s*[.,:]\s*(\d{1,6})\s*\)?", flags=re.ASCII)
_LAYER, _HEAD = ("layer", "l"), ("head", "h", "name")
_FORMS = "either layer, head and value, or a head's name (L5H7) and value, or a matrix with a row for each layer"


@dataclass(frozen=True)
class Imported:
    """One number a head; NaN for heads that were not given. title: what the values were called, made safe to show."""

    values: Float[np.ndarray, "n_layers n_heads"]
    title: str
    digest: str

    @property
    def n_heads(self) -> int:
        """How many heads have a number."""
        return int((~np.isnan(self.values)).sum())


def read_file(path: Path, n_layers: int, n_heads: int) -> Imported:
    """As `read_numbers`, of a file; raises BadInput for one that cannot be read or is no text, too."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"The file of numbers {path} cannot be read: {error.strerror}.") from None
    if len(raw) > _MAX_BYTES:
        raise BadInput(_too_long())
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"The file of numbers {path} is no text in UTF-8: save it as CSV or JSON.") from None
    return read_numbers(text, n_layers, n_heads)


def read_numbers(text: str, n_layers: int, n_heads: int) -> Imported:
    """The numbers in `text`, CSV or JSON, for a model of `n_layers` by `n_heads`.

    Raises BadInput, with one sentence, for what is empty, too long, no text, in none of the forms, no number, or of a head that
    the model lacks or that was there before.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadInput(_too_long())
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise BadInput(f"There are no numbers yet: give CSV or JSON with {_FORMS}.")
    if any(ord(letter) < 32 and letter not in "\t\r\n" for letter in text):
        raise BadInput("This is no text but holds control characters: give CSV or JSON.")
    values = np.full((n_layers, n_heads), np.nan)
    title = (_from_json if text[0] in "[{" else _from_csv)(text, values)
    if np.isnan(values).all():
        raise BadInput("No head has a number: give at least one.")
    return Imported(values, _safe_title(title), hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


Values = Float[np.ndarray, "n_layers n_heads"]


def _from_json(text: str, values: Values) -> str:
    try:
        found = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadInput("This begins as JSON does and is not JSON: check its brackets, quotes and commas.") from None
    title = ""
    if isinstance(found, _Pairs) and len(found.pairs) == 1 and isinstance(found.pairs[0][1], list | _Pairs):
        title, found = found.pairs[0]
    if isinstance(found, _Pairs):
        _put(values, ((_named(name), value) for name, value in found.pairs))
        return title
    if not isinstance(found, list):
        raise BadInput(f"This JSON holds no numbers of heads: give {_FORMS}.")
    if found and all(isinstance(row, list) for row in found):
        if found and all(len(row) == 2 and isinstance(row[0], str) for row in found):
            _put(values, ((_named(name), value) for name, value in found))
        else:
            _put_matrix(values, found)
        return title
    if not found or not all(isinstance(row, _Pairs) for row in found):
        raise BadInput(f"This JSON holds no numbers of heads: give {_FORMS}.")
    # As a table whose columns are the first object's names.
    columns = [name for name, _ in found[0].pairs]
    for number, row in enumerate(found, 1):
        if [name for name, _ in row.pairs] != columns:
            raise BadInput(f"Object {number} of the list has other names than the first: each needs the same.")
    return _put_table(values, columns, [[value for _, value in row.pairs] for row in found]) or title


class _Pairs:
    """A JSON object as it was written: names that come twice are still there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _no_constant(name: str) -> None:
    raise BadInput(f"{name} is no number that can be drawn: leave such heads out, or write null in a matrix.")


def _from_csv(text: str, values: Values) -> str:
    first = text.splitlines()[0]
    delimiter = next((sign for sign in ("\t", ";", ",") if sign in first), ",")
    try:
        table = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)]
    except csv.Error:
        raise BadInput("This CSV cannot be read: a quote is open, or a cell is too long.") from None
    table = [row for row in table if any(row)]
    if not table:
        raise BadInput("No head has a number: give at least one.")
    width = len(table[0])
    for number, row in enumerate(table, 1):
        if len(row) != width:
            raise BadInput(f"Row {number} has {len(row)} columns and the first has {width}: every row needs the same.")
    header = table[0]
    if not any(_NUMBER.fullmatch(cell) or Head.parse(cell) or not cell for cell in header):
        return _put_table(values, header, table[1:])
    if width == 2:
        return _put_table(values, ["head", ""], table)
    is_triple, is_matrix = width == 3, table_fits(table, values)
    if is_triple and is_matrix and len(table) == len(values):
        raise BadInput("Three columns could be a matrix or layer, head and value: write the names of the columns above them.")
    if is_triple:
        return _put_table(values, ["layer", "head", ""], table)
    _put_matrix(values, table)
    return ""


def table_fits(table: Sequence[Sequence[Any]], values: Values) -> bool:
    """Whether a table has the rows and columns of the model's layers and heads."""
    return len(table) == len(values) and all(len(row) == values.shape[1] for row in table)


def _put_table(values: Values, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write a table's rows into `values`; what its column of values is called."""
    kinds = [str(name).strip().lower() for name in columns]
    layers = [place for place, kind in enumerate(kinds) if kind in _LAYER]
    heads = [place for place, kind in enumerate(kinds) if kind in _HEAD]
    others = [place for place in range(len(kinds)) if place not in layers + heads]
    if len(layers) > 1 or len(heads) != 1 or len(others) != 1:
        shown = ", ".join(_shown(name) for name in columns[:6]) + (" and more" if len(columns) > 6 else "")
        raise BadInput(f"The columns must be layer, head and one value, or head (as L5H7) and one value, not {shown}.")
    [head], [value] = heads, others
    if layers:
        _put(values, ((Head(_whole(row[layers[0]], "layer"), _whole(row[head], "head")), row[value]) for row in rows))
    else:
        _put(values, ((_named(row[head]), row[value]) for row in rows))
    return str(columns[value])


def _put(values: Values, numbers: Iterable[tuple[Head, Any]]) -> None:
    n_layers, n_heads = values.shape
    for head, given in numbers:
        if not (head.layer < n_layers and head.head < n_heads):
            raise BadInput(
                f"There is no head {head.name}: this model has layers 0 to {n_layers - 1} with heads 0 to {n_heads - 1}, both "
                "counted from 0."
            )
        if not math.isnan(values[head]):
            raise BadInput(f"{head.name} has more than one number: each head may be given once.")
        values[head] = _number(given, f"The value of {head.name}")


def _put_matrix(values: Values, rows: Sequence[Sequence[Any]]) -> None:
    """A matrix `[layer][head]`, in which a cell may be empty or null."""
    if not table_fits(rows, values):
        widths = {len(row) for row in rows}
        shown = f"{len(rows)} by {widths.pop()}" if len(widths) == 1 else f"{len(rows)} of unequal length"
        raise BadInput(
            f"A matrix needs a row for each of the {counted(len(values), 'layer')} and a column for each of "
            f"the {counted(values.shape[1], 'head')}, "
            f"not {shown}; otherwise give {_FORMS}."
        )
    for layer, row in enumerate(rows):
        for head, given in enumerate(row):
            if given is not None and given != "":
                values[layer, head] = _number(given, f"The value of {Head(layer, head).name}")


def _named(given: Any) -> Head:
    text = given.strip() if isinstance(given, str) else ""
    pair = _PAIR.fullmatch(text)
    head = Head.parse(text) or (Head(int(pair[1]), int(pair[2])) if pair else None)
    if head is None:
        raise BadInput(f"Heads are named like L5H7; {_shown(given)} is not.")
    return head


def _whole(given: Any, what: str) -> int:
    match = None if isinstance(given, bool) else _WHOLE.fullmatch(str(given).strip())
    if match is None:
        raise BadInput(f"A {what} is a whole number from 0 up, not {_shown(given)}.")
    return int(match[1])


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise BadInput(f"{what} is no number: {_shown(given)}.")
    if isinstance(given, str) and not _NUMBER.fullmatch(given.strip()):
        hint = "; write a point, not a comma" if re.fullmatch(r"[+-]?\d+,\d+", given.strip(), flags=re.ASCII) else ""
        raise BadInput(f"{what} is no number: {_shown(given)}{hint}.")
    try:
        value = float(given)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise BadInput(f"{what} is too large to be drawn, or no number: {_shown(given)}.")
    return value


def _shown(given: Any) -> str:
    """In quotes and short, with what cannot be shown by its number."""
    text = given if isinstance(given, str) else type(given).__name__ if isinstance(given, list | _Pairs) else str(given)
    text = repr(text[: _MAX_SHOWN + 1])
    return text if len(text) <= _MAX_SHOWN + 2 else text[:_MAX_SHOWN] + "…" + text[0]


def _safe_title(given: str) -> str:
    """What values were called, on one line, short, and without what a terminal or a page would act on."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(given)).split())
    return text if len(text) <= _MAX_TITLE else text[:_MAX_TITLE] + "…"


def _too_long() -> str:
    return f"That is too much text: one number a head fits in {MAX_CHARACTERS:,} characters."
