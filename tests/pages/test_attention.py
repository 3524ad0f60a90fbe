"""The attention page: what it says, what it keeps in the address, and what it does with input that cannot be used."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.attention.cached import head_pattern, row_patterns, score_heads
from core.attention.rows import TokenRow, probe_row, text_row
from core.heads import Head, ranked
from core.numbers import unsigned
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.view import EXAMPLE_TEXT, RowChoice, View
from core.sharing.address import params_of, view_from
from tests.helpers.app import open_page, settled, tables

SUBJECT = bind(Request("two-layer", length=12, sequences=2))
ADDRESS = {"model": "two-layer", "length": "12", "sequences": "2"}


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds what the pages show, so that none has to wait for a computation."""
    score_heads(SUBJECT)
    rows = [probe_row(SUBJECT, 0), probe_row(SUBJECT, 1), probe_row(SUBJECT, 0, control=True), example_row()]
    for row in rows:
        row_patterns(SUBJECT, row)


def example_row(text: str = EXAMPLE_TEXT) -> TokenRow:
    return text_row(SUBJECT.identity, text)


def attention(*, opened: tuple[str, ...] = (), **parameters: str) -> AppTest:
    return open_page("pages/2_Attention.py", opened=opened, **(ADDRESS | parameters))


def said(at: AppTest) -> str:
    """Every sentence on the page."""
    parts = [*at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.title, *at.header]
    return "\n".join(str(part.value) for part in parts)


def frames(at: AppTest) -> list[str]:
    """The pages inside iframes."""
    return [frame.proto.srcdoc for frame in at.get("iframe")]


def test_without_a_picked_head_it_shows_the_highest_scoring_one() -> None:
    at = attention()
    assert not at.exception
    best = ranked(score_heads(SUBJECT).mean("induction"))[0]
    assert at.title[0].value == f"Attention of {best.name} in two\\-layer"
    assert "No head is picked" in said(at)


def test_the_picked_head_of_the_address() -> None:
    at = attention(head="L1H2")
    assert at.title[0].value.startswith("Attention of L1H2")
    assert "No head is picked" not in said(at)
    (frame,) = frames(at)
    assert "CircuitsVis.AttentionPattern" in frame
    row = probe_row(SUBJECT, 0)
    value = row.mean_on_cells(head_pattern(SUBJECT, row, Head(1, 2)))
    assert f"an orange cell {value:.2f} on average; chance is {row.chance_on_cells():.2f}" in said(at)


def test_the_scores_of_the_head_stand_beside_chance() -> None:
    at = attention(head="L1H2")
    heading, *rows = tables(at)["Scores of L1H2"]
    scores = score_heads(SUBJECT)
    assert heading == ["score", "value", "95 % interval", "chance"]
    assert [row[1] for row in rows] == [unsigned(scores.mean(name)[1, 2]) for name in scores.names]
    assert rows[0][3] == unsigned(probe_row(SUBJECT, 0).chance_on_cells())


def test_every_part_says_what_it_was_measured_on() -> None:
    at = attention(head="L1H2", opened=("pattern",))
    found = [str(caption.value) for caption in at.caption if str(caption.value).startswith("Measured on")]
    # The grid, each token's loss and the pattern are of one sequence; the scores are of all.
    assert sum("sequence 0" in caption for caption in found) == 3 and len(found) == 4


def test_the_heat_map_has_the_same_cells_as_the_frame() -> None:
    at = attention(head="L1H2", opened=("pattern",))
    (chart,) = at.get("plotly_chart")
    traces = json.loads(chart.proto.spec)["data"]
    assert [trace["type"] for trace in traces] == ["heatmap", "heatmap"]
    assert all((trace["zmin"], trace["zmax"]) == (0, 1) for trace in traces)
    assert traces[0]["x"][0] == "0: &lt;bos&gt;"


def test_another_sequence_and_the_control() -> None:
    at = attention(head="L1H2", sequence="1")
    second = frames(at)
    at.number_input(key="sequence").set_value(0).run()
    assert frames(at) != second
    assert "sequence" not in at.query_params
    at.radio(key="row").set_value("control").run()
    assert "follows positions, not tokens" in said(at)
    assert at.query_params["row"] == "control"


def test_own_text_is_kept_in_the_address() -> None:
    at = attention(head="L1H2", row="text")
    assert "each token that occurred before" in said(at)
    assert "text" not in at.query_params
    row_patterns(SUBJECT, example_row("red fox red fox"))
    at.text_area(key="text").set_value("red fox red fox").run()
    assert at.query_params["text"] == "red fox red fox"
    assert not at.exception and not at.error


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        # An address that says no text says the example.
        ({"row": "text", "text": " "}, "each token that occurred before"),
        ({"row": "nonsense", "sequence": "-1"}, "an induction head looks"),
        ({"sequence": "99"}, "an induction head looks"),
        ({"row": "text", "text": "xylophone qwerty xylophone"}, "3 of the text's 3 tokens are not in"),
        ({"row": "text", "text": "rabbit rabbit"}, "No token of this text comes back after another one"),
        ({"model": "by-construction", "row": "text", "text": "red"}, "No token of this text comes back after another one"),
    ],
)
def test_what_cannot_be_looked_at_is_a_sentence(parameters: dict[str, str], sentence: str) -> None:
    at = settled(attention(**parameters))
    assert not at.exception
    assert sentence in said(at).replace("\\", "")
    assert at.radio(key="row")


def test_a_row_too_long_for_circuitsvis_says_why() -> None:
    at = settled(attention(head="L1H2", length="70"))
    assert frames(at) == []
    assert "CircuitsVis draws up to 128 tokens; this sequence has 141" in said(at)
    assert len(at.get("plotly_chart")) == 1


@pytest.mark.parametrize(
    "choice", [RowChoice(), RowChoice("control", 3), RowChoice("text", 0, "a <b> & c"), RowChoice("text", 0, EXAMPLE_TEXT)]
)
def test_the_address_shows_the_same_row_again(choice: RowChoice) -> None:
    assert view_from(params_of(View(row=choice)))[0].row == choice


def test_a_forged_address_is_cut_and_corrected() -> None:
    forged, _ = view_from({"row": "<script>", "sequence": "²", "text": "x" * 5000})
    assert forged.row == RowChoice(text="x" * 1000)


def test_at_length_two_the_token_after_the_earlier_copy_is_said_to_be_the_one_just_before() -> None:
    for length, said in (("2", True), ("3", False)):
        at = settled(open_page("pages/2_Attention.py", model="two-layer", length=length, sequences="1"))
        told = " ".join(str(text.value) for text in (*at.caption, *at.markdown))
        assert ("also the token just before" in told) == said
