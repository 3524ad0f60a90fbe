"""The Text page: the answer first, outliers by name, contexts escaped, effects beside baselines, the command beside all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.settings.request import Request
from core.settings.subject import bind
from core.settings.text_choice import TextChoice
from core.text.cached import chosen_windows_of, natural_scores
from core.text.corpus import TEXTS
from core.verdicts.cached import judged_on_text
from tests.helpers.app import SHORT, figures, open_page, said, settled, tables

SMALL = {"windows": "24", "window_length": "48", **SHORT}
CHOICE = TextChoice(windows=24, length=48)


@pytest.fixture(scope="module")
def at() -> AppTest:
    return settled(page(opened=("lags", "typed")))


def page(*, opened: tuple[str, ...] = (), **parameters: str) -> AppTest:
    return open_page("pages/11_Text.py", opened=opened, **({"model": "mixture"} | SMALL | parameters))


def test_the_answer_stands_first_and_agrees_with_the_numbers(at: AppTest) -> None:
    assert not at.exception and not at.error
    subject = bind(Request("mixture", length=20, sequences=2))
    judged = judged_on_text(subject, chosen_windows_of(subject, CHOICE))
    too = judged.labelled("on text too")
    assert too
    first = str(at.header[0].value).replace("\\", "")
    assert first.startswith(f"{len(too)} of the {len(judged.matching)} heads that match on random tokens")
    told = said(at)
    assert f"On text too: {too[0].name}" in told
    scatter = figures(at)[0]
    lift = judged.judged.value
    marked = next(trace for trace in scatter["data"] if str(trace.get("name", "")).startswith("on text too"))
    assert marked["y"] == pytest.approx([float(lift[head]) for head in too])
    assert set(scatter["data"][-1]["customdata"]) == {f"L{layer}H{head}" for layer in range(3) for head in range(8)}


def test_what_heads_are_worth_stands_beside_other_sets_with_p(at: AppTest) -> None:
    told = said(at)
    assert "the loss of a repeat token changes by" in told and "other sets of as many heads" in told and "p = 0." in told
    assert "in-context-learning score, goes from" in told.replace("‑", "-")
    assert len(figures(at)) == 2
    assert {"Next tokens: With all heads"} <= set(tables(at))


def test_the_printed_command_prints_the_pages_numbers(at: AppTest) -> None:
    files = at.get("popover")
    assert files
    from core.settings.view import View
    from core.sharing.commands import text_command

    line = text_command(View(request=Request("mixture", length=20, sequences=2), text=CHOICE), ())
    assert "--corpus builtin --windows 24 --window-length 48" in line


def test_the_picked_heads_edges_are_drawn_on_the_text_and_escaped() -> None:
    at = settled(page(head="L1H3", edges="tenths", opened=("edges",)))
    assert not at.exception and not at.error
    assert any("What L1H3 looks at" in str(heading.value) for heading in at.header)
    bodies = [html.proto.body for html in at.get("html")]
    drawn = [body for body in bodies if 'class="contexts"' in body]
    subject = bind(Request("mixture", length=20, sequences=2))
    counts = natural_scores(subject, chosen_windows_of(subject, CHOICE)).tenth_counts[1, 3]
    assert len(drawn) == int((counts > 0).sum()) > 2
    # The BOS is called by its own name, which is markup to a browser.
    assert all("<bos>" not in body for body in bodies)


def test_a_pasted_text_and_what_is_wrong_with_it() -> None:
    at = page(corpus="pasted", pasted="  ")
    assert [str(error.value).replace("\\", "") for error in at.error] == ["The pasted text is empty: paste some sentences."]
    at = page(corpus="pasted", pasted="one small rabbit look under tree . " * 4)
    assert "is shorter than a window" in str(at.error[0].value)
    at = settled(page(corpus="pasted", pasted="one small rabbit look under tree . " * 4, window_length="128"))
    told = " ".join(str(caption.value) for caption in at.caption).replace("\\", "")
    assert not at.error and "has 128 tokens, so windows are of 16." in told
    at = page(corpus="topics")
    assert "so no number is claimed" in str(at.error[0].value).replace("\\", "")


def test_a_forged_text_shows_a_sentence_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "secret.txt").write_text("secret " * 500)
    monkeypatch.setenv(TEXTS, str(tmp_path / "texts"))
    for forged in ("texts/../secret.txt", f"texts/{tmp_path}/secret.txt", "nowhere"):
        at = page(corpus=forged)
        assert not at.exception and len(at.error) == 1
        assert "secret secret" not in json.dumps([str(markdown.value) for markdown in at.markdown])


def test_what_stands_in_the_box_is_what_is_taken_away() -> None:
    """Also where another page takes away the heads above the threshold, and these were picked there before."""
    at = settled(page(heads="L1H0"))
    assert at.text_input(key="heads").value == "L1H0" and "**L1H0** taken away" in said(at)
    settled(at.text_input(key="heads").set_value("").run())
    assert at.text_input(key="heads").value == "" and "**L1H0** taken away" not in said(at)


def test_heads_picked_by_hand_are_taken_away() -> None:
    at = settled(page(set="picked", heads="L0H1"))
    assert not at.exception and not at.error
    assert "L0H1** taken away (mean ablation)." in said(at)
