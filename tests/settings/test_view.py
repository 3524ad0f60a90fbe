"""Views: what does not fit a model's sizes is corrected with a sentence, and what was measured on is said in one."""

from dataclasses import replace

import pytest

from core.heads import Head
from core.settings.experiment import Experiment
from core.settings.provenance import measured_on
from core.settings.request import Request
from core.settings.subject import Subject
from core.settings.view import RowChoice, View, fit_view
from tests.helpers.identity import TINY


@pytest.mark.parametrize(
    "view, said",
    [
        (View(Request("tiny", length=32)), "is now 31"),
        (View(Request("tiny", token_range=(2, 20), length=25)), "is now 18"),
        (View(Request("tiny", token_range=(50, 101), length=5)), "whole vocabulary"),
        (View(Request("tiny", token_range=(0, 2), length=5)), "whole vocabulary"),
        (View(Request("tiny", length=5), head=Head(3, 0)), "no head L3H0"),
        (View(Request("tiny", length=5), head=Head(0, 4)), "no head L0H4"),
        (View(Request("tiny", length=5, sequences=3), row=RowChoice(sequence=3)), "is now 2, the last one"),
        (
            View(Request("tiny", length=5), experiment=Experiment(heads=(Head(0, 1), Head(0, 4), Head(3, 1)))),
            "tiny has no L0H4,L3H1: taken out",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_corrected(view: View, said: str) -> None:
    fitted, notes = fit_view(view, TINY)
    assert fitted != view
    assert len(notes) == 1
    assert said in notes[0]
    assert fit_view(fitted, TINY) == (fitted, [])


def test_what_fits_is_left_as_it_is() -> None:
    view = View(
        Request("tiny", length=31, sequences=3, token_range=(2, 100), bos="always"),
        head=Head(2, 3),
        experiment=Experiment(heads=(Head(0, 1), Head(2, 3))),
        row=RowChoice("control", sequence=2),
    )
    assert fit_view(view, TINY) == (view, [])


def test_of_many_heads_that_the_model_lacks_a_few_are_named() -> None:
    experiment = Experiment(heads=(Head(1, 1), *(Head(7, head) for head in range(6))))
    fitted, [note] = fit_view(View(Request("tiny", length=5), experiment=experiment), TINY)
    assert fitted.experiment.heads == (Head(1, 1),)
    assert "L7H0,L7H1,L7H2,L7H3 and more" in note


def test_a_model_without_bos_cannot_always_have_one() -> None:
    without = replace(TINY, bos_token_id=None, prepends_bos=False)
    fitted, notes = fit_view(View(Request("tiny", length=5, bos="always")), without)
    assert fitted.request.bos == "auto"
    assert "has no BOS token" in notes[0]


def test_what_was_measured_on_stands_in_one_sentence() -> None:
    request = Request("tiny", length=10, sequences=1, seed=3, token_range=(5, 60))
    sentence = measured_on(Subject(request, TINY, "cpu"))
    assert sentence == "tokens drawn from ids 5 to 59, 1 sequence of length 10 repeated once, BOS in front, seed 3"
    assert "the whole vocabulary (100 tokens)" in measured_on(Subject(replace(request, token_range=None), TINY, "cpu"))
