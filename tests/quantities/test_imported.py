"""Imported numbers: every form gives the same matrix, and every kind of bad input one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.errors import BadInput
from core.quantities.imported import MAX_CHARACTERS, read_file, read_numbers

SHAPE = (2, 4)
# Two heads have a number, the rest none.
WANTED = np.full(SHAPE, np.nan)
WANTED[0, 3], WANTED[1, 2] = -0.5, 2e-3


@pytest.mark.parametrize(
    "text",
    [
        "layer,head,value\n0,3,-.5\n1,2,0.002",
        "Head;Score;Layer\n3;-.5;0\n2;2e-3;1\n",
        "\ufefflayer\thead\tvalue\r\n0\t3\t-0.50\r\n\r\n1\t2\t+2E-3\r\n",
        '"layer","head","value"\n"0.0","3.0","-0.5"\n1,2,.002',
        "0,3,-0.5\n1,2,0.002",
        "L0H3,-0.5\nl1h2,0.002",
        "head,effect\n0.3,-0.5\n1.2,.002",
        ",,,-0.5\n,,0.002,",
        '{"L0H3": -0.5, "L1H2": 0.002}',
        '{"(0, 3)": -0.5, "(1, 2)": 0.002}',
        '{"scores": {"L0H3": -0.5, "L1H2": "0.002"}}',
        "[[null, null, null, -0.5], [null, null, 0.002, null]]",
        '{"scores": [[null, null, null, -0.5], [null, null, 0.002, null]]}',
        '[{"layer": 0, "head": 3, "value": -0.5}, {"layer": 1, "head": 2, "value": 0.002}]',
        '[{"head": "L0H3", "value": -0.5}, {"head": "L1H2", "value": 0.002}]',
        '[["L0H3", -0.5], ["L1H2", 0.002]]',
    ],
)
def test_every_form_gives_the_same_numbers(text: str) -> None:
    found = read_numbers(text, *SHAPE)
    np.testing.assert_array_equal(found.values, WANTED)
    assert found.n_heads == 2


def test_a_matrix_is_layer_by_head() -> None:
    values = np.random.default_rng(0).normal(size=SHAPE)
    for text in (json.dumps(values.tolist()), "\n".join(",".join(map(repr, row)) for row in values.tolist())):
        np.testing.assert_array_equal(read_numbers(text, *SHAPE).values, values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no numbers yet"),
        (" \n\t ", "no numbers yet"),
        ("x" * (MAX_CHARACTERS + 1), "too much text"),
        ("layer,head,value\n0,1,\x000.5", "control characters"),
        ("layer,value\n0,1", "columns must be layer, head and one value"),
        ("layer,head,a,b\n0,1,2,3", "columns must be layer, head and one value"),
        ("head,head,value\n0,1,2", "columns must be layer, head and one value"),
        ("some,words,only", "columns must be layer, head and one value"),
        ("layer,head,value\n0,1", "Row 2 has 2 columns and the first has 3"),
        ("layer,head,value", "No head has a number"),
        ("layer,head,value\n2,0,0.5", "There is no head L2H0: this model has layers 0 to 1 with heads 0 to 3"),
        ("layer,head,value\n0,4,0.5", "There is no head L0H4"),
        ("layer,head,value\n-1,0,0.5", "whole number from 0 up, not '-1'"),
        ("layer,head,value\n0.5,0,0.5", "whole number from 0 up, not '0.5'"),
        ("layer,head,value\n0,1,0.5\n0,1,0.6", "L0H1 has more than one number"),
        ("L0H1,1\nl0h1,1", "L0H1 has more than one number"),
        ('{"L0H1": 1, "L0H1": 2}', "L0H1 has more than one number"),
        ('[{"layer": 0, "head": 1, "value": 1}, {"layer": 0, "head": 1, "value": 1}]', "L0H1 has more than one number"),
        ("L0H1,1\nX3,1", "Heads are named like L5H7; 'X3' is not"),
        ("layer,head,value\n0,1,high", "The value of L0H1 is no number: 'high'"),
        ("layer,head,value\n0,1,", "The value of L0H1 is no number: ''"),
        ("layer,head,value\n0,1,nan", "no number: 'nan'"),
        ("layer,head,value\n0,1,-inf", "no number: '-inf'"),
        ("layer,head,value\n0,1,1e999", "too large to be drawn"),
        ("layer,head,value\n0,1,1_000", "no number: '1_000'"),
        ("layer,head,value\n0,1,٣", "no number"),
        ("layer;head;value\n0;1;0,5", "write a point, not a comma"),
        ("layer,head,value\n0,1,=1+1", "no number: '=1+1'"),
        ("layer,head,value\n0,1,=cmd|' /C calc'!A0", "no number"),
        ("[[1, 2], [3, 4]]", "needs a row for each of the 2 layers and a column for each of the 4 heads, not 2 by 2"),
        ("1,2,3,4,5\n1,2,3,4,5", "not 2 by 5"),
        ("[[1, 2], [3]]", "not 2 of unequal length"),
        ("[[null, null, null, null], [null, null, null, null]]", "No head has a number"),
        ("[1, 2]", "holds no numbers of heads"),
        ("[]", "holds no numbers of heads"),
        ("{}", "No head has a number"),
        ('[{"layer": 0}, 3]', "holds no numbers of heads"),
        ('[{"layer": 0, "head": 1, "value": 1}, {"layer": 0}]', "Object 2 of the list has other names"),
        ('{"L0H1": true}', "The value of L0H1 is no number"),
        ('{"L0H1": null}', "The value of L0H1 is no number"),
        ('{"L0H1": [1], "L0H2": 1}', "The value of L0H1 is no number: 'list'"),
        ('{"L0H1": NaN}', "NaN is no number"),
        ("[[NaN, 0, 0, 0], [0, 0, 0, 0]]", "NaN is no number"),
        ('{"L0H1": 1' + "0" * 400 + "}", "too large to be drawn"),
        ('{"L0H1": 1', "begins as JSON does and is not JSON"),
        ("[" * 100_000, "begins as JSON does and is not JSON"),
        ('layer,head,value\n0,1,"0.5', "a quote is open"),
        ("a" * 200_000, "cell is too long"),
    ],
)
def test_bad_input_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_numbers(text, *SHAPE)
    message = str(caught.value)
    assert said in message and message.endswith(".") and "\n" not in message and len(message) < 400


def test_three_columns_without_names_are_ambiguous_where_the_model_has_three_heads() -> None:
    with pytest.raises(BadInput, match="write the names of the columns"):
        read_numbers("0,1,2\n1,1,2", 2, 3)
    assert read_numbers("0,1,2\n1,1,2\n1,2,5", 2, 3).n_heads == 3


def test_the_name_of_the_values_cannot_do_harm() -> None:
    found = read_numbers("layer,head,=HYPERLINK(evil) \x7f" + "<b>" * 90 + "\n0,1,2", *SHAPE)
    assert found.title.isprintable() and len(found.title) <= 61 and found.title.startswith("=HYPERLINK(evil)")


def test_files(tmp_path: Path) -> None:
    good, binary, huge = tmp_path / "good.csv", tmp_path / "binary.csv", tmp_path / "huge.csv"
    good.write_text("\ufefflayer,head,value\n0,3,-0.5\n1,2,0.002\n", encoding="utf-8")
    np.testing.assert_array_equal(read_file(good, *SHAPE).values, WANTED)
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    huge.write_bytes(b"0" * (4 * MAX_CHARACTERS + 1))
    for path, said in ((binary, "no text in UTF-8"), (huge, "too much text"), (tmp_path, "cannot be read")):
        with pytest.raises(BadInput, match=said):
            read_file(path, *SHAPE)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_file(tmp_path / "missing.csv", *SHAPE)


@given(some.text(max_size=200) | some.lists(some.sampled_from(list('[]{}",;:0123.eE-LH\n nul')), max_size=60).map("".join))
def test_whatever_comes_is_numbers_or_one_sentence(text: str) -> None:
    said = None
    try:
        values = read_numbers(text, *SHAPE).values
    except BadInput as error:
        said = str(error)
    if said is None:
        known = ~np.isnan(values)
        assert known.any() and np.isfinite(values[known]).all()
    else:
        assert said.endswith(".") and len(said) < 400
