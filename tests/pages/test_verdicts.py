"""The verdicts page: labels with their numbers, a floor that costs nothing, and no trust where the behaviour is absent."""

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import core.verdicts.gather
from core.attention.cached import score_heads
from core.figures.base.style import Look
from core.figures.verdicts import label_map
from core.heads import Head
from core.models.built_in.circuit_spec import standard_spec
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.text_choice import TextChoice
from core.sharing.facts import call_facts
from core.text.cached import chosen_windows_of
from core.ui.components.figure_panel import Source
from core.ui.panels import verdicts as panel
from core.verdicts.cached import judge, judged_on_text, nominees
from core.verdicts.tables import placebo_rows, verdict_rows
from core.verdicts.text_words import answer_sentence, outlier_sentences
from core.verdicts.words import effects_words, nominee_sentence, ordered, sentence, stability_words, worth_a_sentence
from tests.helpers.app import SHORT, figures, open_page, said


def subject_for(model: str) -> Subject:
    return bind(Request(model, length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def judged() -> None:
    """The verdicts of the models that are looked at here are there."""
    # Fewer than three sequences would say nothing of the behaviour.
    absent = subject_for("one-layer").at(sequences=4)
    for subject in (subject_for("two-layer"), absent, subject_for("by-construction")):
        score_heads(subject)
        nominees(subject)
    nominees(subject_for("two-layer"), floor=0.9)


def verdicts(*, opened: tuple[str, ...] = (), **parameters: str) -> AppTest:
    return open_page("pages/6_Verdicts.py", opened=opened, **(SHORT | parameters))


def captions(at: AppTest) -> str:
    return "\n".join(str(caption.value) for caption in at.caption).replace("\\", "")


def test_every_planted_head_gets_its_sentence() -> None:
    at = verdicts(model="by-construction")
    assert not at.exception and not at.error and not at.warning
    for head in standard_spec().planted:
        kind = {"previous_token": "previous token", "positional": "", "duplicate_token": "duplicate token"}
        label = kind.get(head.kind, head.kind)
        assert f"**{Head(head.layer, head.head).name}: {label}" in said(at)
    assert str(at.header[0].value) == "1 of 8 heads is an induction head"


def test_three_figures_are_described_and_say_what_they_rest_on() -> None:
    at = verdicts(model="two-layer", opened=("placebo",))
    assert len(figures(at)) == 3
    assert all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))
    captions = [str(caption.value).replace("\\", "") for caption in at.caption]
    assert (
        sum("sequences of lengths" in caption and "each with a control and in other orders" in caption for caption in captions)
        == 2
    )


def test_labels_are_letters_and_not_colours_alone() -> None:
    letters = figures(verdicts(model="by-construction"))[0]["data"][1]
    assert {"<b>I</b>", "<b>P</b>", "<b>D</b>", "<b>S</b>"} <= set(letters["text"])


def test_the_floor_moves_the_calls_and_tests_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def tested_again(*_: object, **__: object) -> None:
        raise AssertionError("the floor must not start a computation")

    at = verdicts(model="two-layer")
    assert str(at.header[0].value) == "4 of 8 heads are induction heads"
    monkeypatch.setattr("core.verdicts.gather.gather_evidence", tested_again)
    at.slider(key="effect_floor").set_value(0.9).run()
    assert not at.exception and not at.error
    assert str(at.header[0].value) == "None of 8 heads is shown to be an induction head"
    assert any("No head matches" in str(info.value) for info in at.info)
    assert at.query_params["effect_floor"] in ("0.90", ["0.90"])


def test_absent_behaviour_comes_before_any_label() -> None:
    at = verdicts(model="one-layer", sequences="4")
    assert not at.exception and not at.error
    assert "does not do induction on this probe" in str(at.warning[0].value)
    assert any("absent at every length" in str(warning.value) for warning in at.warning)
    order = [element.type for element in at.main]
    assert order.index("warning") < order.index("header")


def test_placebo_offsets_are_those_of_the_picked_head() -> None:
    at = verdicts(model="two-layer", head="L1H2", opened=("placebo",))
    # Ten offsets beside the induction head's own, and that one on fresh tokens.
    assert len(figures(at)[2]["data"][0]["customdata"]) == 12
    assert any("Placebo offsets of L1H2" in str(fold.label) for fold in at.expander)


def test_the_table_behind_the_placebo_offsets_has_every_bar() -> None:
    bars = placebo_rows("L1H2", [48, 49], [0.1, 0.9], 0.02, 50)
    assert [(row["tokens_back"], row["attention"], row["second_half"]) for row in bars] == [
        (48, 0.1, "repeat"),
        (49, 0.9, "repeat"),
        (49, 0.02, "fresh tokens"),
    ]
    assert len(placebo_rows("L1H2", [48, 49], [0.1, 0.9], None, 50)) == 2, "given tokens have no control"


def test_every_head_stands_in_the_table_with_called_heads_first() -> None:
    calls = judge(subject_for("two-layer"))
    rows = verdict_rows(calls)
    assert len(rows) == 8 and [row["label"] for row in rows[:4]] == ["induction"] * 4
    assert [verdict.name for verdict in ordered(calls)] == [row["head"] for row in rows]
    assert all(row["contrast_low"] <= row["contrast"] <= row["contrast_high"] for row in rows)
    assert all((row["total_effect"] is None) == (row["label"] != "induction") for row in rows)


def test_heads_without_a_label_are_taken_away_while_the_verdicts_are_there_already(
    monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    score_heads(subject_for("two-layer"))
    judge(subject_for("two-layer"))
    released = threading.Event()
    measure = core.verdicts.gather.gather_total_effects

    def slowly(*given: Any) -> np.ndarray:
        assert released.wait(60)
        return measure(*given)

    monkeypatch.setattr("core.verdicts.gather.gather_total_effects", slowly)
    at = verdicts(model="two-layer")
    assert not at.exception and not at.error
    assert "L1H1: induction" in said(at) and "L0H0:" not in said(at)
    released.set()
    for _ in range(100):
        if not at.get("progress"):
            break
        at.run()
    assert not at.exception and not at.error
    [nominee] = nominees(subject_for("two-layer"))
    assert nominee.head == Head(0, 0) and nominee_sentence(nominee).partition(". ")[2] in said(at).replace("\\", "")


def test_a_head_that_matters_without_a_label_has_its_effect_in_the_table_too() -> None:
    subject = subject_for("two-layer")
    judged, [nominee] = judge(subject), nominees(subject)
    facts = {head["head"]: head for head in call_facts(subject, judged, [nominee])["heads"]}
    assert facts["L0H0"]["label"] == "none" and facts["L0H0"]["total_effect"] == nominee.total_effect._asdict()
    assert math.isnan(facts["L0H1"]["total_effect"]["value"]), "of others it is not asked"
    shown = panel.Shown(judged, (nominee,), Source("", "", lambda: {}, ""))
    [row] = [row for row in shown.rows() if row["head"] == "L0H0"]
    assert (row["total_effect_low"], row["total_effect_high"]) == nominee.total_effect[1:]


def test_heads_that_matter_and_do_not_match_are_listed() -> None:
    found = nominees(subject_for("two-layer"), floor=0.9)
    assert {nominee.head for nominee in found} >= {Head(1, head) for head in range(4)}
    at = verdicts(model="two-layer", effect_floor="0.90")
    told = said(at).replace("\\", "")
    assert all(nominee_sentence(nominee).partition(". ")[2] in told for nominee in found)


def test_of_many_sentences_the_first_stand_open_and_the_others_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judge(subject_for("two-layer"))
    told = [sentence(verdict, judged).partition(". ")[2] for verdict in worth_a_sentence(judged)]
    assert len(told) > 3
    monkeypatch.setattr(panel, "_MOST_TOLD", 3)
    monkeypatch.setattr(panel, "_FIRST_TOLD", 2)
    for opened, seen in (((), told[:2]), (("told",), told)):
        at = verdicts(model="two-layer", opened=opened)
        shown = said(at).replace("\\", "")
        assert not at.exception and [each for each in told if each in shown] == seen
        assert [fold.label for fold in at.expander if "a sentence each" in fold.label] == [
            f"{len(told) - 2} more heads with a label, a sentence each"
        ]


def test_every_sentence_is_told_with_what_it_rests_on() -> None:
    at = verdicts(model="two-layer")
    judged = judge(subject_for("two-layer"))
    told = said(at).replace("\\", "")
    assert all(sentence(verdict, judged).partition(". ")[2] in told for verdict in worth_a_sentence(judged))
    assert effects_words(judged) in captions(at) and stability_words(judged) in captions(at)


def test_a_head_that_does_not_exist_has_an_empty_cell() -> None:
    judged = judge(subject_for("two-layer"))
    figure = label_map([verdict for verdict in judged.verdicts if verdict.head != (0, 1)], None, Look())
    cells = figure.data[0].z
    assert np.isnan(cells[0, 1]) and not np.isnan(np.delete(cells.ravel(), 1)).any()
    assert "L0H1" not in figure.data[-1].customdata and len(figure.data[-1].x) == 7


def test_what_heads_do_on_text_stands_beside_what_they_are_called() -> None:
    subject = subject_for("two-layer")
    windows = chosen_windows_of(subject, TextChoice())
    link = "Is it the same head on real text?"
    at = verdicts(model="two-layer")
    assert link in [each.proto.label for each in at.main.get("page_link")]
    found = judged_on_text(subject, windows)
    at = verdicts(model="two-layer")
    texts = " ".join(str(part.value) for part in at.markdown).replace("\\", "")
    for line in (answer_sentence(found), *outlier_sentences(found)):
        assert line in texts
