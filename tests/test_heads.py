"""Heads: their names are read in any case and nothing else passes for one; no ranking loses a head."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from core.errors import BadInput
from core.heads import (
    Head,
    all_but,
    check_head,
    every_head,
    given_heads,
    head_set,
    heads_above,
    named,
    names,
    parse_heads,
    ranked,
)

heads = some.builds(Head, some.integers(0, 999_999), some.integers(0, 999_999))
# Few values, so that ties and heads without a score are common.
scores = arrays(np.float32, (3, 4), elements=some.sampled_from([-1.0, 0.0, -0.0, 0.25, 0.5, 1.0, float("nan")]))


@given(some.integers(0, 9999), some.integers(0, 9999))
def test_head_names_are_read_back(layer: int, head: int) -> None:
    assert Head.parse(f"L{layer}H{head}") == (layer, head)


@given(heads)
def test_a_name_is_read_in_any_case_with_space_around(head: Head) -> None:
    for text in (head.name, head.name.lower(), f"l{head.layer}H{head.head}", f"L{head.layer}h{head.head}", f" {head.name}\n"):
        assert Head.parse(text) == head and isinstance(Head.parse(text), Head)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "L", "L5", "H7", "L5H", "LH7", "5,7", "5H7", "7", "none"),
        *("L-1H2", "L+1H2", "L1.0H2", "L1e1H2", "L1 H2", "L1H2,", "L1H2 L3H4", "L1H2,L3H4", "xL1H2", "L1H2x", "L1H2\nL3H4"),
        *("L1234567H0", "L0H1234567", "L" + "9" * 400 + "H0", "L٣H1", "L²H1", "ⅬaH1", "L1H\x00", "Ｌ1Ｈ2"),
    ],
)
def test_what_is_no_name_names_no_head(text: str) -> None:
    assert Head.parse(text) is None


@given(some.text(max_size=12))
def test_any_text_is_a_head_or_none(text: str) -> None:
    head = Head.parse(text)
    assert head is None or Head.parse(head.name) == head


def test_a_head_is_a_place_in_a_matrix_and_orders_by_layer() -> None:
    matrix = np.arange(12).reshape(3, 4)
    assert matrix[Head(2, 1)] == 9 and Head(2, 1) == (2, 1) and Head(2, 1).name == "L2H1"
    assert sorted([Head(1, 0), Head(0, 10), Head(0, 9)]) == [Head(0, 9), Head(0, 10), Head(1, 0)]


@pytest.mark.parametrize("text", ["L1H10,L0H2,L1H10", "l1h10 L0h2\tL1H10", " L1H10;L0H2 ; l1H10 ", ",L1H10,\nL0H2, L1H10,"])
def test_a_list_of_names_is_read_in_its_own_order(text: str) -> None:
    assert parse_heads(text) == (Head(1, 10), Head(0, 2), Head(1, 10))


@given(some.lists(heads, min_size=1, max_size=9).map(tuple))
def test_a_list_of_names_comes_back(given_heads: tuple[Head, ...]) -> None:
    assert parse_heads(named(given_heads)) == given_heads
    assert parse_heads(" ".join(names(given_heads)).lower()) == given_heads


@pytest.mark.parametrize(
    "text, word", [("L1H2,x", "'x'"), ("L1H2,5", "'5'"), ("", "''"), (" , ", "''"), ("L1H2,,L٣H1", "'L٣H1'")]
)
def test_the_word_that_names_no_head_is_said(text: str, word: str) -> None:
    with pytest.raises(BadInput, match=rf"^Heads are named like L5H7,L6H0; {word} is not\.$"):
        parse_heads(text)


def test_names_of_bare_pairs() -> None:
    assert named([(1, 0), (12, 3)]) == "L1H0,L12H3" and named([]) == ""
    assert names([(1, 0), (12, 3)]) == ["L1H0", "L12H3"]


@given(scores)
def test_a_ranking_has_every_head_with_a_score_once(values: np.ndarray) -> None:
    order = ranked(values)
    assert sorted(order) == [head for head in every_head(3, 4) if not np.isnan(values[head])]
    assert all(isinstance(head, Head) for head in order)
    for before, after in pairwise(order):
        assert values[before] > values[after] or (values[before] == values[after] and before < after)


@given(scores, some.sampled_from([-1.0, 0.0, 0.25, 0.3, 1.0]))
def test_heads_above_a_threshold_are_the_first_of_the_ranking(values: np.ndarray, threshold: float) -> None:
    above = heads_above(values, threshold)
    assert above == ranked(values)[: len(above)]
    assert set(above) == {Head(*map(int, place)) for place in np.argwhere(values > threshold)}


def test_what_has_no_score_is_in_no_ranking() -> None:
    assert ranked(np.full((2, 2), np.nan)) == heads_above(np.full((2, 2), np.nan), -1.0) == ()
    assert ranked(np.array([[np.nan, -9.0], [0.5, np.nan]])) == ((1, 0), (0, 1))


def test_a_set_has_no_doubles_and_is_in_order() -> None:
    found = head_set(np.array([[2, 3], [0, 1], [2, 3], [0, 0]]), 3, 4)
    assert found == (Head(0, 0), Head(0, 1), Head(2, 3))
    assert all(isinstance(head, Head) and type(head.layer) is int and type(head.head) is int for head in found)
    assert head_set([], 3, 4) == ()


@pytest.mark.parametrize("given", ["L1H1,L0H2", ["L1H1,L0H2"], ["L1H1 L0H2", "l0h2"], [(1, 1), "L0H2"], {"L0H2", "L1H1"}])
def test_a_word_adds_every_head_that_it_names(given: Any) -> None:
    assert head_set(given, 3, 4) == (Head(0, 2), Head(1, 1))


def test_heads_are_kept_in_the_order_given_where_order_says_something() -> None:
    assert given_heads(["L1H1,L0H2", (2, 0), (1, 1)], 3, 4) == (Head(1, 1), Head(0, 2), Head(2, 0))


def _one_by_one() -> Iterator[tuple[int, int]]:
    yield from ((1, 1), (0, 2))


@pytest.mark.parametrize(
    "given", [((np.int64(1), np.uint8(1)), [0, 2]), np.array([[1, 1], [0, 2]]), torch.tensor([[1, 1], [0, 2]]), _one_by_one()]
)
def test_pairs_of_any_library_are_pairs(given: Any) -> None:
    found = head_set(given, 3, 4)
    assert found == (Head(0, 2), Head(1, 1)) and all(type(number) is int for head in found for number in head)


@pytest.mark.parametrize(
    "pair",
    [
        *((0.5, 1), (0.0, 1), (1, np.float64(1)), (True, 1), (0, np.False_), ("1", "1"), (1, None), (1,), (1, 1, 1), ()),
        *(1, None, {0, 1}, frozenset((1, 2)), torch.tensor(1), np.array([0.0, 1.0])),
    ],
    ids=repr,
)
def test_what_is_no_pair_of_whole_numbers_is_no_head(pair: Any) -> None:
    with pytest.raises(
        BadInput, match=r"^A head is given by its name, such as 'L5H7', or as its layer and head, .*\.$"
    ) as said:
        head_set([(0, 0), pair], 3, 4)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("given", [None, 1, 0.5, True], ids=repr)
def test_what_is_no_list_names_no_heads(given: Any) -> None:
    says = f"Heads are given as a list, such as ['L5H7', (6, 0)], not as {given}."
    with pytest.raises(BadInput, match=f"^{re.escape(says)}$"):
        head_set(given, 3, 4)


@pytest.mark.parametrize("head", [Head(3, 0), Head(0, 4), Head(-1, 0), Head(0, -1)])
def test_a_head_that_the_model_lacks_is_refused(head: Head) -> None:
    says = f"^There is no head {head.name}: this model has layers 0 to 2 with heads 0 to 3.$"
    with pytest.raises(BadInput, match=says):
        check_head(head, 3, 4)
    with pytest.raises(BadInput, match=says):
        head_set([(0, 0), head], 3, 4)


def test_every_head_of_the_model_passes() -> None:
    for head in every_head(3, 4):
        check_head(head, 3, 4)
    assert every_head(2, 2) == ((0, 0), (0, 1), (1, 0), (1, 1))


@given(some.sets(some.tuples(some.integers(0, 2), some.integers(0, 3))))
def test_all_but_a_set_is_the_rest_of_the_model(chosen: set[tuple[int, int]]) -> None:
    spared = head_set(chosen, 3, 4)
    rest = all_but(spared, 3, 4)
    assert not set(rest) & set(spared)
    assert tuple(sorted(rest + spared)) == every_head(3, 4) and rest == tuple(sorted(rest))
