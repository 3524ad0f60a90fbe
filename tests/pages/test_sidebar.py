"""The sidebar and the address: what they agree on, what they correct, and what they say about it."""

from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.testing.v1 import AppTest

from core.attention.cached import score_heads
from core.errors import ModelUnavailable
from core.models.catalogue import DEFAULT_MODEL
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing import facts as conformance_of_files
from core.sharing.facts import envelope
from core.transformer.checks import Check, Conformance
from core.ui.frame import conformance as conformance_of_page
from core.ui.frame.bring_in import downloads_allowed
from tests.helpers.app import figures, open_page, settled, tables
from tests.zoo.build import save
from tests.zoo.rows import ROWS


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the scores of the models that are looked at here."""
    for request in (Request(DEFAULT_MODEL), Request("two-layer"), Request("by-construction")):
        score_heads(request)


def heads(**parameters: str) -> AppTest:
    return open_page("pages/1_Heads.py", **parameters)


def address(at: AppTest) -> dict[str, str]:
    """The address's parameters, one value each."""
    return {name: value[-1] if isinstance(value, list) else value for name, value in at.query_params.items()}


def warnings(at: AppTest) -> str:
    return "\n".join(str(warning.value) for warning in at.warning).replace("\\", "")


def test_a_first_visit_shows_the_default_model_and_a_bare_address() -> None:
    at = heads()
    assert not at.exception and not at.error and not at.warning
    assert at.selectbox(key="model").value == DEFAULT_MODEL
    assert at.slider(key="threshold").value == 0.5
    assert address(at) == {}


def test_where_the_check_fails_no_number_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = bind(Request("two-layer"))
    failed = Conformance(50, (Check("causal", False, 1.0, 1e-5, "another last token changes earlier logits"),))
    for place in (conformance_of_page, conformance_of_files):
        monkeypatch.setattr(place, "conformance", lambda subject: failed)
    at = heads(model="two-layer")
    assert [str(error.value).replace("\\", "") for error in at.error] == [
        "No number is shown at length 50: another last token changes earlier logits."
    ]
    assert not figures(at) and not tables(at) and not at.exception
    with pytest.raises(ModelUnavailable, match="No number is shown"):
        envelope(subject)


def test_a_link_restores_every_control() -> None:
    given = {
        "model": "two-layer",
        "length": "20",
        "sequences": "2",
        "seed": "3",
        "bos": "never",
        "tokens": "5:200",
        "score": "contrast",
        "threshold": "0.25",
        "head": "L1H2",
    }
    score_heads(Request("two-layer", length=20, sequences=2, seed=3, bos="never", token_range=(5, 200)))
    at = heads(**given)
    assert not at.exception and not at.error and not at.warning
    assert at.number_input(key="length").value == 20
    assert at.text_input(key="tokens").value == "5:200"
    assert at.selectbox(key="head").value == "L1H2"
    assert address(at) == given


def test_controls_move_the_address() -> None:
    at = heads()
    at.slider(key="threshold").set_value(0.61).run()
    assert address(at) == {"threshold": "0.61"}
    at.selectbox(key="score").set_value("contrast").run()
    at.slider(key="threshold").set_value(0.5).run()
    assert address(at) == {"score": "contrast"}


def test_a_forged_address_is_corrected_with_sentences() -> None:
    at = heads(model="two-layer", length="-5", threshold="9", score="charm", head="L9H9", tokens="x", seed="1.5", bos="")
    assert not at.exception and not at.error
    said = warnings(at)
    for part in (
        "length must be from 2",
        "threshold must be from 0 to 1",
        "score must be one of",
        "no head L9H9",
        "tokens",
        "seed",
    ):
        assert part in said
    assert at.number_input(key="length").value == 2
    assert at.slider(key="threshold").value == 1.0
    assert address(at) == {"model": "two-layer", "length": "2", "threshold": "1.00"}


def test_corrections_stay_until_a_control_is_moved() -> None:
    at = heads(model="two-layer", head="L9H9")
    assert "no head L9H9" in warnings(at.run())
    at.slider(key="threshold").set_value(0.4).run()
    assert "L9H9" not in warnings(at)


def test_a_length_beyond_the_context_becomes_the_longest_that_fits() -> None:
    at = heads(model="two-layer", length="5000", sequences="1")
    assert "does not fit two-layer" in warnings(at)
    assert at.number_input(key="length").value == 127


def test_another_model_corrects_what_does_not_fit_it() -> None:
    at = heads(head="L2H7")
    at.selectbox(key="model").set_value("two-layer").run()
    assert "no head L2H7" in warnings(at)
    assert at.selectbox(key="head").value == ""
    assert address(at) == {"model": "two-layer"}


def test_an_unknown_model_is_one_sentence_and_keeps_the_picker() -> None:
    at = heads(model="no-such-model-anywhere")
    assert not at.exception
    [error] = at.error
    assert "There is no model called" in str(error.value)
    at.selectbox(key="model").set_value("two-layer").run()
    assert not at.error
    assert address(at) == {"model": "two-layer"}


def test_a_model_that_is_not_here_can_be_brought_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    monkeypatch.setenv("HEADSCOPE_ALLOW_DOWNLOADS", "1")
    at = heads(model="solu-8l-old")
    assert not at.exception and not at.error
    assert "solu-8l-old is not on this machine yet" in warnings(at)
    assert [str(title.value) for title in at.title] == ["Heads"], "a page has a heading, whatever it has to say"
    assert [button.label for button in at.button] == ["Bring in solu-8l-old now"]


def test_visitors_of_an_open_server_cannot_bring_a_model_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    monkeypatch.setenv("HEADSCOPE_ALLOW_DOWNLOADS", "0")
    at = heads(model="solu-8l-old")
    assert not at.exception and not at.error and not at.button
    assert any("python -m core models add solu-8l-old" in str(caption.value) for caption in at.caption)


@pytest.mark.parametrize(
    "address, allowed",
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        (None, False),
        ("10.0.0.7", False),
        ("", False),
    ],
)
def test_downloads_are_the_visitors_where_nobody_else_can_visit(
    address: str | None, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADSCOPE_ALLOW_DOWNLOADS", raising=False)
    monkeypatch.setattr("core.ui.frame.bring_in.exists", lambda: True)
    monkeypatch.setattr("core.ui.frame.bring_in.st.get_option", lambda name: address)
    assert downloads_allowed() is allowed
    monkeypatch.setenv("HEADSCOPE_ALLOW_DOWNLOADS", "yes")
    assert downloads_allowed()
    monkeypatch.setenv("HEADSCOPE_ALLOW_DOWNLOADS", "off")
    assert not downloads_allowed()


def test_a_folder_outside_the_model_folder_is_refused() -> None:
    at = heads(model="../../etc")
    assert not at.exception
    assert len(at.error) == 1


def test_texts_from_the_address_are_not_markup() -> None:
    at = heads(model="![x](https://example.org/x.png)")
    assert "![x](" not in str(at.error[0].value)
    assert "://example" not in str(at.error[0].value)


def test_the_tokenizers_habit_is_shown() -> None:
    at = heads(model="two-layer")
    assert any("puts its BOS in front" in str(caption.value) for caption in at.caption)


def test_an_unexpected_error_is_one_sentence_with_a_reference(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("core.ui.frame.waiting.known_scores", broken)
    at = heads()
    assert not at.exception
    [error] = at.error
    assert "secret" not in str(error.value)
    reference = str(error.value).split()[-1].rstrip(".")
    assert reference in caplog.text and "secret detail" in caplog.text


def test_a_poll_before_the_browser_drew_the_controls_sends_their_values_again() -> None:
    """A slow browser that lost the first values would otherwise answer with every control at its lowest."""
    at = heads(model="two-layer", length="20")
    at.session_state["polled"] = {"length": 2}
    at.session_state["length"] = 2
    at.run()
    assert at.number_input(key="length").value == 20
    at.number_input(key="length").set_value(30).run()
    at.session_state["polled"] = {"length": 30}
    at.run()
    assert at.number_input(key="length").value == 30 and address(at)["length"] == "30"


def test_what_is_chosen_between_a_poll_and_its_run_is_kept() -> None:
    """The poll says that its run is nobody's doing; a choice can come before that run does."""
    at = heads(model="two-layer", length="20")
    at.session_state["polled"] = {"length": 2, "threshold": 0.4}
    at.session_state["length"] = 2
    at.slider(key="threshold").set_value(0.7).run()
    assert at.slider(key="threshold").value == 0.7 and address(at)["threshold"] == "0.70"
    assert at.number_input(key="length").value == 20, "what the browser lost is still sent again"


@pytest.mark.parametrize("before", ["pick_model", "_threshold_controls", "_probe_controls", "write_address"])
def test_a_choice_that_overtakes_the_run_which_follows_a_poll_is_kept(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That run has put what controls hold in place, and is stopped before it has drawn all of them."""
    at = heads(model="two-layer", length="20")
    at.slider(key="threshold").set_value(0.7)
    message = at._tree.get_widget_states()
    at.session_state["polled"] = {"threshold": 0.5, "length": 20}

    def stopped(*_: object) -> None:
        raise StopException

    with monkeypatch.context() as patch:
        patch.setattr(f"core.ui.frame.sidebar.{before}", stopped)
        at._run()
    at._run(message)
    assert at.slider(key="threshold").value == 0.7 and address(at)["threshold"] == "0.70"
    assert at.number_input(key="length").value == 20 and not at.exception


def captions(at: AppTest) -> str:
    return "\n".join(str(caption.value) for caption in at.sidebar.caption).replace("\\", "")


def test_every_page_says_what_was_checked_of_the_model(empty_store: Path) -> None:
    """Not before it was: the numbers come first, the check last."""
    parameters = {"model": "two-layer", "length": "17", "sequences": "3"}
    at = open_page("pages/1_Heads.py", **parameters)
    assert "Not yet checked against the model's own module at this length." in captions(at)
    checked = "Checked against the model's own module at length 17: nothing is withheld."
    assert checked in captions(settled(at))
    assert checked in captions(open_page("pages/2_Attention.py", **parameters))


def test_what_a_model_does_not_hold_is_said_on_its_pages_and_in_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    """A part of it adds to the stream by itself: what a head adds to the logit cannot be told, all else can."""
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    name = save(ROWS["bloom"], tmp_path).name
    at = settled(open_page("pages/1_Heads.py", model=name, length="12", sequences="2"))
    assert not at.exception and not at.error
    assert "Withheld: the fast pass: not every layer showed its attention" in captions(at)
    assert "direct effect: A part of this model reads the residual stream and adds to it by itself" in captions(at)
    subject = bind(Request(name, length=12, sequences=2))
    said = envelope(subject)["conformance"]
    assert (
        not said["passed"]
        and said["length"] == 12
        and [one.partition(":")[0] for one in said["withheld"]]
        == [
            "the fast pass",
            "direct effect",
        ]
    )


def test_a_name_that_was_guessed_is_said() -> None:
    asked, exact = heads(model="Two-Layer"), heads(model="two-layer")
    said = [[caption.value.replace("\\", "") for caption in at.sidebar.caption] for at in (asked, exact)]
    assert "“Two-Layer” is taken to mean two-layer." in said[0]
    assert not [caption for caption in said[1] if "is taken to mean" in caption]


def test_what_is_chosen_while_controls_are_sent_again_is_confirmed_to_the_browser() -> None:
    """Its own control, put back by what was on its way, would say so at the next click."""

    def sent(at: AppTest) -> bool:
        return bool(at.slider(key="threshold").proto.set_value)

    at = heads(model="two-layer")
    at.session_state["polled"] = {}
    assert sent(at.run()), "nobody has done anything: the browser may not have drawn it yet"
    at.slider(key="threshold").set_value(0.7).run()
    assert at.slider(key="threshold").value == 0.7 and sent(at)
    assert address(at)["threshold"] == "0.70"
    at.slider(key="threshold").set_value(0.8).run()
    assert at.slider(key="threshold").value == 0.8 and not sent(at), "once: what is dragged on is not put back"
