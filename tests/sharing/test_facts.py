"""What a page offers as a file and what the command that it prints says are the same object, number for number."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from core.circuits.cached import circuit, circuit_heads
from core.cli import main
from core.heads import Head
from core.quantities.cached import Asked, obtained
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.text_choice import TextChoice
from core.settings.view import View
from core.sharing.commands import PROGRAM, card_command, circuit_command, report_command, text_command
from core.text.cached import chosen_windows_of
from core.verdicts.cached import judged_on_text
from tests.helpers.app import SHORT, let_work_end, open_page, settled

HEADS, ATTENTION, ABLATION = "pages/1_Heads.py", "pages/2_Attention.py", "pages/3_Ablation.py"
CAUSAL_MAP, SWEEP, VERDICTS = "pages/4_Causal_map.py", "pages/5_Sweep.py", "pages/6_Verdicts.py"
CIRCUITS, REPORT, SENSITIVITY = "pages/7_Circuits.py", "pages/8_Report.py", "pages/9_Sensitivity.py"
HEAD_CARD = "pages/10_Head_card.py"
COMPARE = "pages/12_Compare.py"
# Panels that are drawn only once somebody opens them.
FOLDED = ("typed", "compared", "pattern", "placebo", "composition", "positions", "singles", "steps", "sweep", "pruning", "lags")
TWO_LAYER = {"model": "two-layer"}
# A view that differs from the default in everything that a command can say.
OTHER = TWO_LAYER | {"seed": "3", "bos": "never", "tokens": "5:200", "mode": "zero"}
BY_CONSTRUCTION = {"model": "by-construction"}
# For what takes hundreds of passes: the circuit by construction is seventy times as large.
SOLU = {"model": "solu"}
TWO_HEADS = {"set": "picked", "heads": "L0H0,L0H2"}


@pytest.fixture(scope="module", autouse=True)
def no_work_left_behind(own_store: None) -> Iterator[None]:
    """A store of this module's own, so that pages and commands share what they measure; and an end to their work."""
    yield
    let_work_end()


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], str]]:
    """What the download buttons of pages give for JSON, by the buttons' keys: what the browser would be sent."""
    found: dict[str, Callable[[], str]] = {}
    button = st.download_button

    def remember(label: str, data: Any, *args: Any, **kwargs: Any) -> bool:
        if kwargs["key"].endswith("-json"):
            found[kwargs["key"].removesuffix("-json")] = data
        return button(label, data, *args, **kwargs)

    monkeypatch.setattr(st, "download_button", remember)
    return found


def page_and_command(
    offered: dict[str, Callable[[], str]],
    capsys: pytest.CaptureFixture[str],
    store: Path,
    path: str,
    panel: str,
    view: dict[str, str],
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What the panel's file holds, what the command beside it prints where results go to `store`, and the command's words."""
    at = settled(open_page(path, opened=FOLDED, **(SHORT | view)))
    at.session_state[f"{panel}-files"] = True
    settled(at.run())
    assert not at.exception and not at.error, at.error
    # Other code on a page is on other panels.
    command = next(str(code.value) for code in at.code if str(code.value).startswith(shlex.join(PROGRAM)))
    words = shlex.split(command)
    assert tuple(words[: len(PROGRAM)]) == PROGRAM and words[-1] == "--json"
    page = json.loads(offered[panel]())
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        # The command measures everything again.
        patch.setenv("HEADSCOPE_STORE", str(store))
        assert main(words[len(PROGRAM) :]) == 0
    out, _ = capsys.readouterr()
    assert out.count("\n") == 1
    return page, json.loads(out), words[len(PROGRAM) :]


@pytest.mark.parametrize(
    ("command", "path", "panel", "view"),
    [
        ("score", HEADS, "heatmap", TWO_LAYER),
        ("score", HEADS, "ranked", BY_CONSTRUCTION),
        ("score", HEADS, "distribution", OTHER),
        ("score", VERDICTS, "placebo", TWO_LAYER),
        ("score", HEAD_CARD, "choose", BY_CONSTRUCTION),
        ("attention", ATTENTION, "pattern", TWO_LAYER),
        ("attention", ATTENTION, "pattern", OTHER | {"head": "L1H2", "row": "control", "sequence": "1"}),
        ("attention", ATTENTION, "pattern", TWO_LAYER | {"row": "text"}),
        ("attention", ATTENTION, "pattern", OTHER | {"head": "L0H2", "row": "text", "text": "-the-'dog'-the"}),
        ("ablate", ABLATION, "set-map", TWO_LAYER),
        ("ablate", ABLATION, "beside", TWO_LAYER),
        ("ablate", ABLATION, "positions", OTHER | {"set": "both", "heads": "L0H2", "threshold": "0.30"}),
        (
            "ablate",
            ABLATION,
            "singles",
            BY_CONSTRUCTION | {"paragraph": '--a-"dog"-saw-the-dog', "mode": "resample"} | TWO_HEADS,
        ),
        ("causal", CAUSAL_MAP, "score-effect", TWO_LAYER),
        ("causal", CAUSAL_MAP, "map", OTHER),
        ("causal", CAUSAL_MAP, "map", BY_CONSTRUCTION | {"mode": "pattern"}),
        ("sweep", SWEEP, "sweep", TWO_LAYER),
        ("sweep", SWEEP, "sweep", OTHER | {"curves": "all", "score": "previous_token"}),
        ("sweep", SWEEP, "comparison", BY_CONSTRUCTION),
        ("sweep", SWEEP, "comparison", OTHER | {"first": "0.30", "second": "0.30", "curves": "all"}),
        ("sweep", SWEEP, "comparison", TWO_LAYER | {"first": "0.95", "second": "0.20"}),
        ("call", VERDICTS, "intervals", SOLU),
        ("call", VERDICTS, "labels", OTHER | {"effect_floor": "0.35"}),
        ("sweep", REPORT, "report-sweep", SOLU | {"mode": "resample", "score": "contrast", "curves": "all"}),
        ("circuit", CIRCUITS, "circuit", TWO_LAYER),
        ("circuit", CIRCUITS, "composition", OTHER),
        ("circuit", CIRCUITS, "pruned", TWO_LAYER),
        ("circuit", CIRCUITS, "pruned", OTHER | {"head": "L0H3"}),
        ("sensitivity", SENSITIVITY, "sensitivity", TWO_LAYER),
        ("sensitivity", SENSITIVITY, "sensitivity", OTHER | {"score": "contrast", "head": "L0H1", "threshold": "0.20"}),
        ("compare", COMPARE, "comparison", TWO_LAYER),
        ("compare", COMPARE, "comparison", OTHER | {"x": "chance", "y": "rotation_contrast", "colour": "entropy"}),
        ("card", HEAD_CARD, "patterns", TWO_LAYER | {"head": "L1H2"}),
        ("card", HEAD_CARD, "removal", SOLU | {"head": "L0H2", "threshold": "0.80"}),
        ("card", HEAD_CARD, "movement", OTHER | {"head": "L1H1", "score": "previous_token", "effect_floor": "0.40"}),
        ("card", HEAD_CARD, "edges", TWO_LAYER | {"head": "L1H3", "set": "picked", "heads": "L0H2", "mode": "resample"}),
        ("card", HEAD_CARD, "movement", TWO_LAYER | {"head": "L0H0", "set": "both", "heads": "L0H1"}),
    ],
)
def test_a_page_and_its_command_say_the_same(
    offered: dict[str, Callable[[], str]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: str,
    path: str,
    panel: str,
    view: dict[str, str],
) -> None:
    page, printed, words = page_and_command(offered, capsys, tmp_path, path, panel, view)
    assert words[0] == command and ("--prune" in words) == (panel == "pruned")
    if command == "card":
        # Where the command wrote its page.
        assert "html" not in page and page["sentences"]
        del printed["html"]
    assert page == printed


def test_a_comparison_on_a_chosen_text_says_which(
    offered: dict[str, Callable[[], str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    view = TWO_LAYER | {"x": "lift", "y": "k_composition", "head": "L1H1", "corpus": "words", "windows": "16"}
    asked = Asked(bind(Request("two-layer", length=20, sequences=2)), reader=Head(1, 1), text=TextChoice("words", windows=16))
    for name in ("lift", "k_composition"):
        obtained(name, asked)
    page, printed, words = page_and_command(offered, capsys, tmp_path, COMPARE, "comparison", view)
    assert page == printed and page["reader"] == "L1H1" and "--corpus" in words
    assert page["text"].startswith("16 windows of 128 tokens")


def test_the_reports_command_prints_its_steps_among_the_rest(
    offered: dict[str, Callable[[], str]], capsys: pytest.CaptureFixture[str], own_store: Path
) -> None:
    page, printed, words = page_and_command(offered, capsys, own_store, REPORT, "steps", SOLU | {"seed": "3"})
    assert words[0] == "report"
    assert page.pop("run").items() <= printed["run"].items()
    assert page.items() <= printed.items()


def test_one_effect_floor_holds_wherever_called_heads_are_spoken_of() -> None:
    """A floor that leaves no head called leaves none in the circuit, on text or in the report; and every command says it."""
    subject = bind(Request("two-layer", length=20, sequences=2))
    high = View(Request("two-layer"), head=Head(1, 2), experiment=replace(View().experiment, effect_floor=0.97))
    assert circuit_heads(subject)[1] and not circuit_heads(subject, 0.97)[1]
    assert circuit(subject, "zero").edges and not circuit(subject, "zero", floor=0.97).edges
    windows = chosen_windows_of(subject, TextChoice(windows=8, length=32))
    assert judged_on_text(subject, windows).matching and not judged_on_text(subject, windows, 0.97).matching
    assert main(["circuit", "--model", "two-layer", "--length", "20", "--sequences", "2", "--floor", "0.97"]) == 0
    for command in (circuit_command(high, "zero"), text_command(high, ()), report_command(high), card_command(high, None)):
        assert "--floor 0.97" in command and "--floor" not in command.replace("--floor 0.97", "")
    usual = replace(high, experiment=View().experiment)
    for command in (circuit_command(usual, "zero"), text_command(usual, ()), report_command(usual), card_command(usual, None)):
        assert "--floor" not in command
