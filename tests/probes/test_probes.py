"""Probes: what is drawn, what is refused, and that ids are used as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from core.probes.given import given_probe
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.probes.vocabulary import Vocabulary, longest_length, use_bos

VOCABULARY = Vocabulary(size=300, special_ids=frozenset({0, 1, 299}), bos_token_id=0, prepends_bos=True, n_ctx=101)


@given(
    length=st.integers(2, 50), sequences=st.integers(1, 6), seed=st.integers(0, 2**40), bos=st.sampled_from(["auto", "never"])
)
def test_a_probe_is_a_sequence_twice_and_its_control_is_not(length, sequences, seed, bos):
    probe = repeated_probe(VOCABULARY, ProbeOptions(length, sequences, seed, bos))
    b = int(bos == "auto")
    first, second = probe.tokens[:, b : b + length], probe.tokens[:, b + length :]
    assert probe.tokens.shape == (sequences, b + 2 * length) and probe.has_bos == bool(b)
    assert (first == second).all()
    assert all(len(set(row)) == length for row in first)
    assert not np.isin(first, [0, 1, 299]).any()
    if b:
        assert (probe.tokens[:, 0] == 0).all()
    assert (probe.control[:, : b + length] == probe.tokens[:, : b + length]).all()
    for r, fresh in zip(first, probe.control[:, b + length :], strict=True):
        assert len(set(fresh)) == length and not set(fresh) & set(r)


@given(size=st.integers(2, 30), seed=st.integers(0, 2**40))
def test_a_small_vocabulary_still_has_a_control_without_induction(size, seed):
    vocabulary = Vocabulary(size=size, n_ctx=200)
    probe = repeated_probe(vocabulary, ProbeOptions(size, 2, seed, "never"))
    assert probe.warnings
    if size > 2:
        assert not (probe.control[:, size:] == probe.tokens[:, size:]).any()


def test_the_same_seed_gives_the_same_ids_and_another_does_not():
    one, again, other = (repeated_probe(VOCABULARY, ProbeOptions(20, 3, seed)) for seed in (5, 5, 6))
    assert one.digest == again.digest != other.digest


def test_pinned_ids():
    """The draw is part of every published number: it must not change with a library's version."""
    probe = repeated_probe(VOCABULARY, ProbeOptions(5, 1, 0, "never", (10, 20)))
    assert probe.tokens[0].tolist() == PINNED + PINNED


PINNED = [14, 16, 12, 17, 13]


@pytest.mark.parametrize(
    "options,says",
    [
        (ProbeOptions(51), "the longest length that fits is 50"),
        (ProbeOptions(1), "must be from 2"),
        (ProbeOptions(20, sequences=0), "number of sequences"),
        (ProbeOptions(20, sequences=10**9), "number of sequences"),
        (ProbeOptions(20, seed=-1), "seed"),
        (ProbeOptions(20, token_range=(5, 10)), "holds only 5"),
        (ProbeOptions(20, token_range=(-5, 10)), "must lie within 0:300"),
        (ProbeOptions(20, token_range=(10, 10)), "must lie within 0:300"),
        (ProbeOptions(20, token_range=(0, 301)), "must lie within 0:300"),
        (ProbeOptions(20, bos="maybe"), "auto, always or never"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_gets_one_clear_sentence(options, says):
    with pytest.raises(BadInput, match=says):
        repeated_probe(VOCABULARY, options)


def test_bos_policies():
    silent = Vocabulary(size=10, bos_token_id=3, prepends_bos=False)
    assert [use_bos(silent, p) for p in ("auto", "always", "never")] == [False, True, False]
    assert [use_bos(VOCABULARY, p) for p in ("auto", "always", "never")] == [True, True, False]
    with pytest.raises(BadInput, match="has no BOS token"):
        use_bos(Vocabulary(size=10), "always")
    assert longest_length(VOCABULARY) == 50 and longest_length(VOCABULARY, "never") == 50


@pytest.mark.parametrize("front", [[], [0]])
def test_given_ids_are_used_as_they_are(front):
    rows = [front + [5, 6, 7, 5, 6, 7], front + [9, 8, 7, 9, 8, 7]]
    probe = given_probe(VOCABULARY, rows, 3)
    assert probe.tokens.tolist() == rows and probe.has_bos == bool(front)
    assert not (probe.control[:, -3:] == probe.tokens[:, -3:]).any()


def test_rows_that_are_given_more_than_once_are_told():
    row, other = [5, 6, 7, 5, 6, 7], [9, 8, 7, 9, 8, 7]
    assert given_probe(VOCABULARY, [row, other], 3).warnings == ()
    [warning] = given_probe(VOCABULARY, [row, row, other], 3).warnings
    assert warning.startswith("Of 3 rows 2 are different: intervals and p take every row for one of its own")
    [warning] = given_probe(VOCABULARY, [row, row], 3).warnings
    assert warning.startswith("Of 2 rows 1 is different")


@pytest.mark.parametrize(
    "rows,says",
    [
        ([], "JSON list"),
        ("abc", "JSON list"),
        ([[]], "JSON list"),
        ([[1.5, 2]], "whole numbers"),
        ([[True, 2]], "whole numbers"),
        ([[5, 6, 5, 6], [5]], "equally long"),
        ([[5, 6, 5, 300]], "300 is out of range"),
        ([[5, -6, 5, -6]], "-6 is out of range"),
        ([[5, 6, 5, 7]], "not a sequence twice"),
        ([[5, 6, 7, 5, 6, 7, 5]], "do not fit length 2"),
        ([[5] * 102], "context of 101"),
    ],
)
def test_given_ids_that_cannot_be_used(rows, says):
    with pytest.raises(BadInput, match=says):
        given_probe(VOCABULARY, rows, 2)


def test_ids_cannot_be_changed_afterwards():
    probe = repeated_probe(VOCABULARY, ProbeOptions(5))
    with pytest.raises(ValueError):
        probe.tokens[0, 0] = 1
