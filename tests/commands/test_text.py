"""`python -m core text`: one object with every measure, and one line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.cli import main
from core.settings.subject import bind
from core.settings.text_choice import TextChoice
from core.sharing.facts import as_json
from core.sharing.text_facts import text_facts
from core.text.cached import chosen_windows_of, natural_scores
from core.verdicts.cached import judged_on_text
from tests.helpers.cli import run_json

SMALL = ("text", "--windows", "24", "--window-length", "48")
NAMES = {
    "natural_induction",
    "distance_control",
    "key_control",
    "lift",
    "headvis",
    "previous_token",
    "duplicate_token",
    "sink",
    "entropy",
    "distance",
}


def test_the_object_holds_what_the_design_promises() -> None:
    found = run_json(*SMALL, "--top", "2", "--baselines", "3", "--mode", "zero")
    assert set(found["scores"]) >= NAMES and set(found["low"]) == set(found["high"]) == set(found["scores"])
    assert np.array(found["scores"]["lift"]).shape == (3, 8)
    assert set(found["prefix"]) == {"1", "2", "3"} and len(found["lag_profile"]) == 21
    assert set(found["icl_score"]) == {"value", "low", "high"}
    repeat = found["losses"]["repeat"]
    assert repeat["change"]["value"] == pytest.approx(repeat["ablated"] - repeat["judged_clean"], abs=1e-6)
    assert found["baseline"]["repeat"]["p"] >= found["baseline"]["smallest_p"] > 0
    assert len(found["heads"]) == 2 and found["mode"] == "zero"
    assert found["text"]["windows"] == 24 and found["text"]["window_length"] == 48 and found["text"]["corpus"] == "words"
    assert set(found["on_text"]["on_text_too"]) <= set(found["on_text"]["matching"])


def test_a_pages_download_is_the_commands_output() -> None:
    subject = bind("mixture")
    windows = chosen_windows_of(subject, TextChoice(windows=24, length=48))
    facts = as_json(text_facts(subject, windows, natural_scores(subject, windows), judged_on_text(subject, windows)))
    printed = run_json(*SMALL)
    assert {name: printed[name] for name in facts} == json.loads(json.dumps(facts))


def test_windows_as_ids_are_used_as_they_are(tmp_path: Path) -> None:
    rows = chosen_windows_of(bind("mixture"), TextChoice(windows=24, length=48)).tokens.tolist()
    (tmp_path / "windows.json").write_text(json.dumps(rows))
    given = run_json("text", "--tokens", str(tmp_path / "windows.json"))
    assert given["text"]["has_bos"] and given["text"]["seed"] is None
    assert given["scores"] == run_json(*SMALL)["scores"]


def test_words_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL]) == 0
    printed = capsys.readouterr().out
    assert "heads that match on random tokens" in printed and "Rank correlation" in printed and "lift" in printed
    assert "is not to be relied on: ask for more windows" in printed


def given(folder: Path, rows: np.ndarray, *words: str) -> dict[str, Any]:
    (folder / "windows.json").write_text(json.dumps(rows.tolist()))
    return run_json("text", "--tokens", str(folder / "windows.json"), "--length", "20", "--sequences", "4", *words)


def test_a_text_on_which_no_token_comes_back_is_told_as_such(tmp_path: Path) -> None:
    rows = np.stack([np.random.default_rng(seed).permutation(np.arange(2, 42)) for seed in range(6)])
    found = given(tmp_path, rows, "--top", "2")
    told = found["sentences"]
    assert "No head has a lift on this text, so none is taken away." in told and found["ablation"] is None
    assert "no rank correlation of random tokens with this text: no token of these windows comes back" in " ".join(told)
    assert any(said.startswith("No token of these windows comes back after another one, so there") for said in told)
    assert not any("too few heads" in said or "– of the pairs" in said for said in told)
    assert found["text"]["paired"] is None


def test_one_window_is_said_to_have_no_halves(tmp_path: Path) -> None:
    row = np.random.default_rng(0).integers(2, 12, size=(1, 40))
    told = " ".join(given(tmp_path, row)["sentences"])
    assert "0 windows" not in told and "one window has no halves" in told and "too few heads" not in told
    assert "with the lift there is none: no window that heads are judged on has a token that comes back with both" in told


@pytest.mark.parametrize(
    "words, said",
    [
        (["--corpus", "nowhere"], "There is no file or folder nowhere"),
        (["--corpus", "topics"], "so no number is claimed"),
        (["--windows", "1"], "windows must be from 2"),
        (["--window-length", "9999"], "A window must have 8 to"),
        (["--heads", "L1H0", "--top", "2"], "either --heads"),
        (["--top", "0"], "--top takes 1 to"),
        (["--heads", "L9H9"], "There is no head L9H9"),
        (["--tokens", "nowhere.json"], "cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *words, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and said in captured.err
    assert len(captured.err.strip().splitlines()) == 1
