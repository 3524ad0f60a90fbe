"""How scores move: the settings that are tried, and what is said about them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from core.attention.cached import sensitivity
from core.attention.sensitivity import BRIEF, FACTORS, MIN_SEQUENCES, WHOLE, movement, sensitivity_settings
from core.attention.tables import spread_rows
from core.attention.words import beside_heads_sentence, sensitivity_sentences
from core.errors import BadInput
from core.heads import Head, every_head
from core.models.built_in.circuit_spec import expected_prefix_matching, standard_spec
from core.runtime.cache import if_cached
from core.settings.request import Request
from core.settings.subject import bind

SUBJECT = bind(Request("by-construction", length=30, sequences=2))
[INDUCTION] = standard_spec().of_kind("induction")
PLACE = Head(INDUCTION.layer, INDUCTION.head)
pytestmark = pytest.mark.usefixtures("own_store")


@pytest.fixture(scope="module")
def found(own_store):
    assert if_cached(partial(sensitivity, SUBJECT, "induction")) is None
    return sensitivity(SUBJECT, "induction")


def test_settings_vary_one_thing_and_fit_the_model():
    settings = sensitivity_settings(SUBJECT)
    by_factor = {factor: [s for s in settings if s.factor == factor] for factor in FACTORS}
    assert [s.label for s in by_factor["length"]] == ["10", "25", "30", "50", "100"]  # 200 does not fit a context of 208
    assert len(by_factor["seed"]) == WHOLE.seeds and [s.label for s in by_factor["bos"]] == ["with", "without"]
    for setting in settings:
        assert setting.subject.request.sequences == MIN_SEQUENCES
    assert {s.subject.request.seed for s in by_factor["length"]} == {0}
    assert {s.subject.request.length for s in by_factor["seed"]} == {30}


def test_the_brief_settings_are_part_of_the_whole():
    whole, brief = sensitivity_settings(SUBJECT), sensitivity_settings(SUBJECT, BRIEF)
    assert {s.subject.digest for s in brief} < {s.subject.digest for s in whole}
    assert {s.factor for s in brief} == set(FACTORS)


def test_the_circuit_moves_as_its_closed_form(found):
    for spread in found.of(PLACE, "length"):
        exact = expected_prefix_matching(int(spread.setting.label), 1, INDUCTION.strength)
        assert spread.mean == pytest.approx(exact, abs=1e-5)
        assert spread.low - 1e-9 <= spread.mean <= spread.high + 1e-9
    assert movement(found.of(PLACE, "seed")) < 1e-5


def test_intervals_hold_the_mean_and_come_from_sequences():
    trained = sensitivity(bind(Request("two-layer", length=20, sequences=2)), "induction")
    head = trained.top(1)[0]
    for spread in trained.of(head, "seed"):
        assert spread.low < spread.mean < spread.high
    values = trained.scores[0].sequences("induction")[head]
    assert len(values) == MIN_SEQUENCES
    assert trained.of(head, "length")[0].mean == pytest.approx(float(np.mean(values)))


def test_heads_on_both_sides_of_the_threshold(found):
    means = found.means()[:, PLACE[0], PLACE[1]]
    between = (means.min() + means.max()) / 2
    always, sometimes = found.steady(float(between))
    assert PLACE in sometimes and PLACE not in always
    always, sometimes = found.steady(float(means.min()) - 0.01)
    assert PLACE in always


def test_the_picked_head_is_shown(found):
    quiet = next(head for head in every_head(2, 4) if head.layer == 1 and head not in found.top(2))
    assert quiet in found.top(2, quiet) and len(found.top(2, quiet)) == 2
    assert PLACE in found.top(2)


def test_what_is_kept_is_there_at_once(found):
    again = if_cached(partial(sensitivity, SUBJECT, "induction"))
    assert again is not None
    np.testing.assert_array_equal(again.means(), found.means())


def test_rows_and_sentences(found):
    rows = spread_rows(found, [PLACE], 0.5)
    assert len(rows) == len(found.settings) and {row["varied"] for row in rows} == set(FACTORS)
    said = sensitivity_sentences(found, 0.5)
    assert "at every setting" in said[0] and any("length 100" in sentence for sentence in said[1:3])
    for threshold in (0.5, 0.97, 1.0):
        some, told = found.steady(threshold)[1], sensitivity_sentences(found, threshold)
        assert f"{len(some)} at some settings only." in told[0], "said once where there are none"
        assert [sentence for sentence in told if sentence.startswith("At some settings only")] == (told[1:2] if some else [])


def test_what_moves_most_is_said_of_all_heads_and_of_none_where_none_moves(found):
    """Not of those that a window has room for, nor of whichever is first of many that stay where they are."""
    random = np.random.default_rng(0)
    base = found.base.mean("induction")
    values = random.uniform(0.2, 0.8, (len(found.settings), *base.shape))
    moving = replace(found, scores=tuple(_scored(found.base, each) for each in values))
    length, seed, bos = sensitivity_sentences(moving, 0.5)[-3:]
    for factor, sentence in (("length", length), ("bos", bos)):
        chosen = [place for place, setting in enumerate(found.settings) if setting.factor == factor]
        apart = {head: np.ptp([values[place][head] for place in chosen]) for head in every_head(*base.shape)}
        assert max(apart, key=apart.get).name in sentence
    seeds = [place for place, setting in enumerate(found.settings) if setting.factor == "seed"]
    furthest = np.ptp(values[seeds], axis=0).max()
    told = float(seed.removesuffix(".").rpartition(" ")[2])
    assert furthest <= told < furthest + 0.01 and "no head by more than" in seed
    still = replace(found, scores=tuple(_scored(found.base, values[0]) for _ in found.settings))
    said = " ".join(sensitivity_sentences(still, 0.5))
    assert (
        "With length no head moves." in said and "With or without the BOS no head moves." in said and "moves most" not in said
    )


def test_what_is_written_with_the_same_digits_is_not_said_to_move_most(found):
    base = found.base.mean("induction")
    moving = [np.full(base.shape, 0.9946 if setting.label == "100" else 0.9894) for setting in found.settings]
    said = sensitivity_sentences(replace(found, scores=tuple(_scored(found.base, each) for each in moving)), 0.5)
    assert "With length no head moves by more than 0.01." in said


def test_a_number_beside_the_threshold_is_written_on_its_side(found):
    base = found.base.mean("induction")
    moving = [np.full(base.shape, 0.9 if setting.label in ("10", "with") else 0.5004) for setting in found.settings]
    said = " ".join(sensitivity_sentences(replace(found, scores=tuple(_scored(found.base, each) for each in moving)), 0.5))
    assert said.count("0.5004") == 2 and "0.50 " not in said.partition(", ")[2], said


def _scored(base, means):
    """The same scores, but for induction, which is `means` on every sequence."""
    of_each = np.repeat(means[..., None], base.sequences("induction").shape[-1], axis=-1)
    return replace(base, per_sequence={**base.per_sequence, "induction": of_each})


def test_the_number_of_the_heads_page_stands_beside_this_ones(found):
    said = beside_heads_sentence(found, PLACE)
    usual = float(found.base.mean("induction")[PLACE])
    here = next(spread.mean for spread in found.of(PLACE, "length") if spread.setting.label == str(SUBJECT.request.length))
    assert f"{usual:.2f} on the Heads page, on {SUBJECT.request.sequences} sequences" in said
    assert f"{here:.2f} here, on {found.sequences}" in said


def test_given_tokens_have_no_settings():
    given = bind(Request("by-construction", tokens=((0, 5, 6, 5, 6),), length=2))
    with pytest.raises(BadInput, match="drawn tokens"):
        sensitivity(given, "induction")
