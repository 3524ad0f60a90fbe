"""What the report recorded, against the facts that were noted down about it."""

from __future__ import annotations

import numpy as np
import pytest

from core.heads import Head, heads_above
from core.replication.published import COUNTED_THRESHOLDS, ReportedModel, reported_models, reported_table


@pytest.mark.parametrize(
    "model,counts",
    [("solu-8l-old", (14, 8, 6, 4, 3, 3, 2, 0, 0, 0)), ("gpt2-small", (27, 22, 17, 13, 9, 5, 5, 5, 5, 4))],
)
def test_heads_above_each_threshold(model, counts):
    assert reported_models()[model].counts() == dict(zip(COUNTED_THRESHOLDS, counts, strict=True))


@pytest.mark.parametrize(
    "model,kind,head,value",
    [
        ("solu-8l-old", "induction", Head(4, 2), 0.6402724),
        ("solu-8l-old", "induction", Head(4, 15), 0.6168649),
        ("solu-8l-old", "induction", Head(5, 7), 0.5587158),
        ("solu-8l-old", "induction", Head(5, 4), 0.323281),
        ("solu-8l-old", "induction", Head(5, 8), 0.2413874),
        ("solu-8l-old", "previous_token", Head(3, 8), 0.9985824),
        ("solu-8l-old", "previous_token", Head(2, 3), 0.4614698),
    ],
)
def test_single_cells(model, kind, head, value):
    assert getattr(reported_models()[model], kind)[head] == pytest.approx(value, abs=1e-7)


def test_sizes_and_the_best_heads():
    solu, gpt2 = reported_models()["solu-8l-old"], reported_models()["gpt2-small"]
    assert solu.induction.shape == solu.previous_token.shape == (8, 16)
    assert gpt2.induction.shape == gpt2.previous_token.shape == (12, 12)
    best = {head.name for head in heads_above(gpt2.induction, 0.8)}
    assert best == {"L5H1", "L5H5", "L6H9", "L7H10", "L7H2"}
    assert heads_above(gpt2.previous_token, 0.9)[0].name == "L4H11"


def test_the_table_says_what_its_loss_is():
    rows = reported_table()
    assert [row.threshold for row in rows] == [None, 0.6, 0.5]
    assert [row.log_probability for row in rows] == [-6.096261024475098, -8.345271110534668, -9.745206832885742]
    assert [len(row.heads) for row in rows] == [0, 2, 3]
    assert all(row.loss == -row.log_probability > 0 for row in rows)


def test_recorded_numbers_cannot_be_changed_by_a_reader():
    with pytest.raises(ValueError):
        reported_models()["gpt2-small"].induction[0, 0] = 1.0


@pytest.mark.usefixtures("unchecked_shapes")
def test_maps_of_one_model_must_agree():
    with pytest.raises(ValueError, match="two maps"):
        ReportedModel("m", "m", np.zeros((2, 3)), np.zeros((3, 2)))
