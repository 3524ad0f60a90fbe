"""The Head card page: one head's whole case, from what is at hand, with the rest measured in its place."""

import pytest
from streamlit.testing.v1 import AppTest

from core.attention.cached import score_heads
from core.head_card.cached import PARTS, head_card
from core.head_card.card import HeadCard
from core.heads import Head
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.view import View
from core.verdicts.cached import judge
from tests.helpers.app import SHORT, figures, open_page, sent


def subject_for(model: str) -> Subject:
    return bind(Request(model, length=20, sequences=2))


def card_of(model: str, head: Head, sequences: int = 2) -> HeadCard:
    subject = subject_for(model).at(sequences=sequences)
    return head_card(subject, View(request=subject.request, head=head))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the cards that are looked at here."""
    card_of("two-layer", Head(1, 2))
    card_of("two-layer", Head(0, 2))
    card_of("one-layer", Head(0, 1), sequences=4)


def page(path: str = "pages/10_Head_card.py", **parameters: str) -> AppTest:
    return open_page(path, **(SHORT | parameters))


def said(at: AppTest) -> str:
    texts = [*at.title, *at.markdown, *at.caption, *at.info, *at.warning]
    return "\n".join(str(text.value).replace("\\", "") for text in texts)


def table(at: AppTest) -> str:
    [found] = [part.proto.body for part in at.get("html") if "<table" in part.proto.body]
    return found


def is_taken_away_in_part(at: AppTest) -> bool:
    """Whether the button that gives the card as a file says that parts are missing; it can always be pressed."""
    [button] = [button.proto for button in at.get("download_button") if button.proto.label == "Card as one page"]
    assert not button.disabled
    return "So far as it is measured" in button.help


def test_the_whole_card_is_on_one_page() -> None:
    at = page(model="two-layer", head="L1H2")
    assert not at.exception and not at.error and not at.warning
    # Two sequences are too few to say whether the behaviour is there; nothing else is missing.
    assert ["1 more sequence is needed" in str(info.value) for info in at.info] == [True]
    card = card_of("two-layer", Head(1, 2))
    assert str(at.title[0].value).replace("\\", "") == "L1H2 of two-layer: induction"
    assert card.sentence is not None and card.sentence.partition(". ")[2] in said(at)
    assert [str(heading.value) for heading in at.header] == [
        "Where it looks",
        "How it moves",
        "What taking it away costs",
        "Edges in and out",
    ]
    assert not is_taken_away_in_part(at)
    assert len(figures(at)) == 4 and all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))
    for reading in card.score_lines:
        assert f'<td role="cell" class="value">{reading.mean:.2f}</td>' in table(at)
    assert card.alone is not None and f'<td role="cell" class="value">{card.alone.cost:+.2f}</td>' in table(at)
    assert "95 % over 2 sequences (Student's t; so few make it wide" in said(at)
    assert "Measured on tokens drawn from" in said(at)


def test_a_stored_card_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.models.load.load_model", lambda *_, **__: pytest.fail("loaded a model"))
    at = page(model="two-layer", head="L1H2")
    assert not at.exception and not at.error and len(figures(at)) == 4
    at.slider(key="threshold").set_value(0.5).run()
    before = sent(at)
    at.slider(key="threshold").set_value(0.3).run()
    assert not at.exception and not at.error and len(figures(at)) == 4
    assert sent(at) == before, "only the overlay moves"
    assert "With the threshold at 0.30" in said(at)


def test_another_head_is_chosen_on_the_page() -> None:
    at = page(model="two-layer", head="L1H2")
    picker = at.selectbox(key="card_head")
    values = score_heads(subject_for("two-layer")).mean("induction")
    assert picker.options[0].partition(" ")[0] == f"L1H{values[1].argmax()}"
    picker.set_value("L0H2").run()
    assert not at.exception and not at.error
    assert str(at.title[0].value).replace("\\", "") == "L0H2 of two-layer: previous token"
    assert at.query_params["head"] in ("L0H2", ["L0H2"])
    # The threshold is one of induction, and what moves here is the head's own score.
    assert "Previous token, here over" in said(at) and "With the threshold at" not in said(at)


def test_without_a_head_there_is_a_map_to_pick_one_from() -> None:
    at = page(model="two-layer")
    assert not at.exception and not at.error
    assert at.selectbox(key="card_head").value is None
    [heat_map] = figures(at)
    assert heat_map["data"][-1]["customdata"][0] == "L0H0"
    assert not at.header
    at.selectbox(key="card_head").set_value("L1H2").run()
    assert "L1H2 of two-layer: induction" in said(at) and len(figures(at)) == 4


def test_absent_behaviour_comes_before_the_label() -> None:
    at = page(model="one-layer", head="L0H1", sequences="4")
    assert not at.exception and not at.error
    assert "does not do induction on this probe" in str(at.warning[0].value)
    order = [element.type for element in at.main]
    assert order.index("warning") < order.index("markdown") < order.index("header")
    assert "L0H1 of one-layer: no label" in said(at)
    assert "No edge of L0H1 was found" in said(at)
    assert "effect have no number: the behaviour is absent, so there is no gain to measure them in. " in said(at)


def test_a_head_that_the_model_lacks_is_told_and_left_out() -> None:
    at = page(model="two-layer", head="L7H7")
    assert "two-layer has no head L7H7" in said(at) and at.selectbox(key="card_head").value is None


def test_what_cannot_be_had_leaves_the_rest() -> None:
    score_heads(Request("two-layer", length=20, sequences=1))
    at = page(model="two-layer", head="L1H2", sequences="1", mode="resample")
    assert not at.exception and not at.error
    assert "Resample ablation needs at least 2 sequences" in said(at)
    assert "Induction</th>" in table(at)


def test_what_is_missing_is_measured_and_a_card_can_be_taken_away_at_any_time() -> None:
    subject = subject_for("two-layer").at(seed=9)
    score_heads(subject)
    at = page(model="two-layer", head="L1H1", seed="9")
    # The scores are there at once, whatever else is still being measured.
    assert "Induction</th>" in table(at) and not at.exception
    assert is_taken_away_in_part(at)
    for _ in range(600):
        if len(figures(at)) == 4 and not at.get("progress"):
            break
        assert not at.exception and not at.error
        at.run()
    at.run()
    assert len(figures(at)) == 4 and "L1H1 of two-layer: induction" in said(at)
    assert not is_taken_away_in_part(at)
    view = View(request=subject.request, head=Head(1, 1))
    assert all(part.measure(subject, view) is not None for part in PARTS.values())


@pytest.mark.parametrize("path", ["pages/1_Heads.py", "pages/2_Attention.py", "pages/6_Verdicts.py", "pages/7_Circuits.py"])
def test_every_page_that_shows_one_head_leads_to_its_card(path: str) -> None:
    judge(subject_for("two-layer"))
    at = page(path, model="two-layer", head="L1H2")
    for _ in range(100):
        links = [link.proto for link in at.main.get("page_link") if link.proto.label == "Open its card"]
        if links:
            break
        at.run()
    [link] = links
    assert "Head_card" in link.page and "head=L1H2" in link.query_string
    without = page(path, model="two-layer")
    assert not [link for link in without.main.get("page_link") if link.proto.label == "Open its card"]
