"""The attention page: what it says, what it keeps in the address, and what it does with input that cannot be used."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.attention.cached import ScoreRequest, head_scores
from core.attention.patterns import head_pattern, row_patterns
from core.attention.rows import TokenRow, probe_row, text_row
from core.attention.scores import head_name, heads_above
from core.models.identity import model_identity
from core.probes.repeated import ProbeOptions
from core.ui.components.row_picker import EXAMPLE, RowChoice, choice_from, params_of_choice

APP = Path(__file__).resolve().parents[2] / "app.py"
REQUEST = ScoreRequest("two-layer", ProbeOptions(length=12, sequences=2))
ADDRESS = {"model": "two-layer", "length": "12", "sequences": "2"}


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds what the pages show, so that none has to wait for a computation."""
    head_scores(REQUEST)
    rows = [probe_row(REQUEST, 0), probe_row(REQUEST, 1), probe_row(REQUEST, 0, control=True), example_row()]
    for row in rows:
        row_patterns(REQUEST, row)


def example_row(text: str = EXAMPLE) -> TokenRow:
    return text_row(model_identity("two-layer"), text)


def attention(**parameters: str) -> AppTest:
    at = AppTest.from_file(str(APP), default_timeout=120)
    # A link opens this page first, so the home page is not run before it.
    at.switch_page("pages/2_Attention.py")
    for name, value in (ADDRESS | parameters).items():
        at.query_params[name] = value
    return at.run()


def said(at: AppTest) -> str:
    """Every sentence on the page."""
    parts = [*at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.title, *at.subheader]
    return "\n".join(str(part.value) for part in parts)


def frames(at: AppTest) -> list[str]:
    """The pages inside iframes."""
    return [frame.proto.srcdoc for frame in at.get("iframe")]


def test_without_a_picked_head_it_shows_the_highest_scoring_one() -> None:
    at = attention()
    assert not at.exception
    best = heads_above(head_scores(REQUEST).mean("induction"), -1.0)[0]
    assert at.title[0].value == f"Attention of {head_name(*best)} in two\\-layer"
    assert "No head is picked" in said(at)


def test_the_picked_head_of_the_address() -> None:
    at = attention(head="L1H2")
    assert at.title[0].value.startswith("Attention of L1H2")
    assert "No head is picked" not in said(at)
    (frame,) = frames(at)
    assert "CircuitsVis.AttentionPattern" in frame
    row = probe_row(REQUEST, 0)
    value = row.mean_on_cells(head_pattern(REQUEST, row, 1, 2))
    assert f"an orange cell {value:.2f} on average; chance is {row.chance_on_cells():.2f}" in said(at)


def test_the_scores_of_the_head_stand_beside_chance() -> None:
    table = attention(head="L1H2").dataframe[0].value
    scores = head_scores(REQUEST)
    assert list(table["value"]) == pytest.approx([float(scores.mean(name)[1, 2]) for name in scores.names])
    assert table["chance"][0] == pytest.approx(probe_row(REQUEST, 0).chance_on_cells())


def test_the_heat_map_has_the_same_cells_as_the_frame() -> None:
    at = attention(head="L1H2")
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
    row_patterns(REQUEST, example_row("red fox red fox"))
    at.text_area(key="text").set_value("red fox red fox").run()
    assert at.query_params["text"] == "red fox red fox"
    assert not at.exception and not at.error


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"row": "text", "text": " "}, "at least one word"),
        ({"row": "nonsense", "sequence": "-1"}, "an induction head looks"),
        ({"sequence": "99"}, "an induction head looks"),
        ({"row": "text", "text": "xylophone qwerty xylophone"}, "3 of the text's 3 tokens are not in"),
        ({"model": "by-construction", "row": "text", "text": "red"}, "No token of this text comes back"),
    ],
)
def test_what_cannot_be_looked_at_is_a_sentence(parameters: dict[str, str], sentence: str) -> None:
    at = attention(**parameters)
    at = wait(at)
    assert not at.exception
    assert sentence in said(at).replace("\\", "")
    assert at.radio(key="row")


def test_a_row_too_long_for_circuitsvis_says_why() -> None:
    at = wait(attention(head="L1H2", length="70"))
    assert frames(at) == []
    assert "CircuitsVis draws up to 128 tokens; this row has 141" in said(at)
    assert len(at.get("plotly_chart")) == 1


@pytest.mark.parametrize(
    "choice", [RowChoice(), RowChoice("control", 3), RowChoice("text", 0, "a <b> & c"), RowChoice("text", 0, EXAMPLE)]
)
def test_the_address_shows_the_same_row_again(choice: RowChoice) -> None:
    assert choice_from(params_of_choice(choice)) == choice


def test_a_forged_address_is_cut_and_corrected() -> None:
    forged = choice_from({"row": "<script>", "sequence": "²", "text": "x" * 5000})
    assert forged == RowChoice(text="x" * 1000)


def wait(at: AppTest) -> AppTest:
    """Run the page again until nothing is being computed."""
    for _ in range(60):
        if not any("Cancel" in button.label for button in at.button):
            return at
        at.run()
    raise AssertionError("the page still computes")
