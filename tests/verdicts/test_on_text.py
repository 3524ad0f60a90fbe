"""Labels on text: what lies above, below and across the floor, and never from the half that heads were picked on."""

from __future__ import annotations

import numpy as np
import pytest

from core.heads import Head
from core.settings.subject import bind
from core.text.cached import natural_scores
from core.text.natural_scores import LIFT_FLOOR, Measured
from core.text.windows import TextWindows
from core.verdicts.cached import copied_on_text
from core.verdicts.on_text import OnText
from core.verdicts.text_words import answer_sentence, head_on_text, outlier_sentences


def lift(value: list[float], reach: float = 0.01, windows: int = 40) -> Measured:
    found = np.array([value])
    return Measured(found, found - reach, found + reach, windows)


def judged(windows: int = 40) -> OnText:
    matches = np.array([[True, True, True, False, False, False]])
    random = np.array([[0.9, 0.8, 0.7, 0.1, 0.1, np.nan]])
    chosen = lift([0.3, 0.02, 0.05, 0.2, 0.01, np.nan])
    return OnText(matches, random, random, chosen, lift([0.3, 0.02, LIFT_FLOOR, 0.2, 0.2, np.nan], windows=windows))


def test_each_label_by_where_the_judged_interval_lies() -> None:
    found = judged()
    labels = [found.label(Head(0, head)) for head in range(6)]
    # The fifth is above on the judged half alone: it would not have been picked.
    assert labels == ["on text too", "random only", "undecided on text", "text only", "neither", "neither"]
    assert found.labelled("neither") == (Head(0, 4),)
    assert found.top(2) == (Head(0, 0), Head(0, 3)), "picked on the half that is not judged on"
    assert found.lifted(5) == found.top(2) != found.top(5), "the others would be taken away for nothing"


def test_sentences_agree_with_the_labels() -> None:
    assert answer_sentence(judged()) == "1 of the 3 heads that match on random tokens matches on text, too."
    assert "as far as so few windows say" in answer_sentence(judged(windows=20))
    alike = judged()
    for head, says in ((0, "matches on text, too."), (1, "does not match on text."), (2, "is not shown to match on text.")):
        one = OnText(np.eye(6, dtype=bool)[head][None], alike.random, alike.random, alike.chosen, alike.judged)
        assert answer_sentence(one) == f"The one head that matches on random tokens {says}"
    said = " ".join(outlier_sentences(judged()))
    assert "On text too: L0H0 0.30 (0.29 to 0.31)" in said and "Text only: L0H3" in said and "L0H1 0.02" in said
    assert head_on_text(judged(), Head(0, 1)) == "Random only: lift 0.02 (0.01 to 0.03); induction score on random tokens 0.80."
    neither = head_on_text(judged(), Head(0, 4))
    assert neither == (
        "Does not match on random tokens, where its induction score is 0.10; whether it matches on text is not shown: lift "
        "0.20 (0.19 to 0.21), but 0.01 on the other half of the windows, by which heads are picked, not above 0.05."
    )
    alone = lift([0.3] * 6, np.nan, windows=1)
    one = OnText(judged().matches, judged().random, judged().random, alone, alone)
    assert "undecided on text (too few windows for an interval)" in " ".join(outlier_sentences(one))
    nothing = OnText(np.zeros((1, 6), bool), judged().random, judged().random, judged().chosen, judged().judged)
    assert answer_sentence(nothing).startswith("No head matches on random tokens")


def test_what_an_interval_holds_is_neither_a_yes_nor_a_no() -> None:
    few = np.zeros((1, 3), bool), np.full((1, 3), 0.1), np.full((1, 3), 0.1)
    for judged_lift, says in (
        (lift([0.26] * 3, 0.7), "is not shown: lift 0.26 (−0.44 to 0.96), and the interval holds 0.05."),
        (lift([0.39] * 3, np.nan, windows=1), "is not shown: lift 0.39, of too few windows for an interval."),
        (lift([0.02] * 3), "nor on text: lift 0.02 (0.01 to 0.03)."),
    ):
        assert head_on_text(OnText(*few, judged_lift, judged_lift), Head(0, 1)).endswith(says)
    all_match = np.ones((1, 3), bool), *few[1:]
    below, across = lift([0.02] * 3), lift([0.02, 0.02, 0.05])
    told = [answer_sentence(OnText(*all_match, found, found)) for found in (below, across)]
    assert told == [
        f"None of the 3 heads that match on random tokens {does} on text, too." for does in ("matches", "is shown to match")
    ]


def test_a_lift_is_written_on_its_side_of_the_floor() -> None:
    beside = lift([LIFT_FLOOR - 0.0106, LIFT_FLOOR - 0.0094], 0.01)
    found = OnText(np.array([[True, True]]), np.array([[0.9, 0.9]]), np.array([[0.9, 0.9]]), beside, beside)
    below, holds = outlier_sentences(found)
    assert "lies below 0.05" in below and "L0H0 0.039 (0.029 to 0.049)" in below
    assert "holds 0.05" in holds and "L0H1 0.041 (0.031 to 0.051)" in holds


def test_both_orders_of_heads_are_compared_over_heads_that_exist() -> None:
    found = judged()
    assert found.rank_correlation.n_heads == 5 and found.rank_correlation.rho == pytest.approx(1.0)
    assert -1 <= found.lift_correlation.rho < 1


def test_what_a_head_copies_on_text_is_exact_by_construction() -> None:
    random = np.random.default_rng(1)
    rows = np.stack([np.concatenate([[0], random.permutation(np.arange(1, 100))[:60]]) for _ in range(4)])
    rows[:, 40:50] = rows[:, 5:15]
    text, subject = TextWindows(rows, 1, "given tokens"), bind("by-construction")
    # It adds ten logits times its attention to the token that it looks at, and the mean token gets its share of all.
    logits = copied_on_text(subject, text, Head(1, 3), 0)
    strength = natural_scores(subject, text).edges.strength[1, 3, 0]
    assert len(logits) == len(strength[strength > 0])
    assert logits == pytest.approx(10 * strength[strength > 0] - 10 / 128, abs=0.01)
    assert np.abs(copied_on_text(subject, text, Head(0, 2), 1)).max() < 1e-4, (
        "the previous-token head writes nothing into `out`"
    )
