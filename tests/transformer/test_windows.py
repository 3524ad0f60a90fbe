"""How far back each layer sees, and chance within it: a head whose queries are nothing attends uniformly to all it sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.attention.cached import score_heads
from core.attention.scores import SCORES
from core.cli import main
from core.models.load import forget_models, load_model
from core.settings.request import Request
from core.settings.subject import bind
from core.transformer.passes.windows import IRREGULAR, SEES_ALL, layer_windows, window_of
from core.verdicts.cached import judge
from tests.helpers.app import figures, open_page, settled
from tests.zoo.build import build
from tests.zoo.rows import ROWS, Row

LENGTH = 12
MODELS = {
    "mistral-window-4": (ROWS["mistral-window-4"], (4, 4, 4)),
    "mistral-window-16": (ROWS["mistral-window-16"], (16, 16, 16)),
    "gemma3-window-4": (ROWS["gemma3-window-4"], (4, 0, 4)),
    "gpt_neo": (
        replace(
            ROWS["gpt_neo"],
            changes=ROWS["gpt_neo"].changes | dict(attention_types=[[["global", "local", "global"], 1]], window_size=5),
        ),
        (0, 5, 0),
    ),
    "llama": (ROWS["llama"], (0, 0, 0)),
}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Iterator[Path]:
    forget_models()
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    yield tmp_path
    forget_models()


def uniform(row: Row, root: Path) -> str:
    """The row's model with every query projection set to zero: each head attends equally to all that its layer sees."""
    model: Any = build(row)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "q_proj" in name:
                weight.zero_()
    model.save_pretrained(root / "uniform")
    return "uniform"


@pytest.mark.parametrize("name", MODELS)
def test_a_uniform_head_scores_chance_in_every_layer(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row, windows = MODELS[name]
    subject = bind(Request(uniform(row, root), length=LENGTH, sequences=2, bos="never"))
    scores = score_heads(subject)
    assert scores.windows is not None and tuple(scores.windows) == tuple(windows)
    for score in (found for found in SCORES.values() if found.cells is not None and not found.by_value):
        own = scores.mean(score.name)
        np.testing.assert_allclose(own, np.repeat(scores.chance(score.name)[:, None], own.shape[1], axis=1), atol=1e-6)
    assert main(["score", "--model", "uniform", "--length", str(LENGTH), "--sequences", "2", "--bos", "never", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["chance_by_layer"]["induction"] == pytest.approx(scores.chance("induction"))
    differ = len(set(windows)) > 1
    assert (said["chance"]["induction"] is None) == differ and said["chance"]["sink"] == (
        None if differ else pytest.approx(scores.chance("sink")[0])
    )
    for layer in range(3):
        asked = [
            "attention",
            "--model",
            "uniform",
            "--length",
            str(LENGTH),
            "--bos",
            "never",
            "--head",
            f"L{layer}H1",
            "--json",
        ]
        assert main(asked) == 0
        row_said = json.loads(capsys.readouterr().out)["row"]
        assert row_said["on_stripe"] == pytest.approx(row_said["chance_on_stripe"], abs=1e-4)
    verdicts = judge(subject, [LENGTH], per_length=4).verdicts
    for verdict in verdicts:
        assert verdict.induction.value == pytest.approx(verdict.chance["induction"], abs=1e-6), verdict.name


def test_a_window_is_what_all_heads_see_together() -> None:
    lower = torch.ones(1, 2, 10, 10).tril()
    back = torch.arange(10)[:, None] - torch.arange(10)
    assert window_of(lower) == SEES_ALL
    assert window_of(lower * (back < 3)) == 3
    # A sharp head leaves most cells empty; the others of its layer show what it could see.
    sharp = lower.clone()
    sharp[:, 0] = torch.eye(10)
    assert window_of(sharp) == SEES_ALL and window_of(sharp * (back < 4)) == 4
    blocks = torch.arange(10)[:, None] // 5 == torch.arange(10) // 5
    assert window_of(lower * blocks) == IRREGULAR
    first_and_own = lower * ((back == 0) | (torch.arange(10) == 0))
    assert window_of(first_and_own) == IRREGULAR


def test_very_sharp_heads_of_a_layer_that_sees_all_make_no_window() -> None:
    """A score that falls with distance alone: what is far rounds to nothing, as behind a window."""
    model: Any = build(ROWS["qwen2"])
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                weight.fill_(20.0 if "bias" in name else 0.0)
    scores = score_heads(Request(model, length=LENGTH, sequences=2, bos="never"))
    assert scores.mean("current_token").min() > 0.999, "else this shows nothing"
    assert scores.windows is not None and not scores.windows.any()


@pytest.mark.parametrize("held", [np.ones(3), torch.ones(3)])
def test_whatever_a_config_holds_is_no_error(held: Any) -> None:
    model: Any = build(ROWS["llama"])
    model.config.block_table = model.config.local_sizes = held
    found = score_heads(Request(model, length=LENGTH, sequences=2, bos="never")).windows
    assert found is not None and not found.any()


def test_no_pass_is_made_for_a_model_that_speaks_of_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.transformer.passes.windows.run_body", lambda *_: pytest.fail("made a pass"))
    assert not layer_windows(load_model("two-layer"), 21).any()


def test_the_heads_page_names_the_highest_chance_where_layers_see_different_stretches(root: Path) -> None:
    name = uniform(MODELS["gemma3-window-4"][0], root)
    at = settled(open_page("pages/1_Heads.py", model=name, length="12", sequences="2", head="L1H1"))
    scores = score_heads(Request("uniform", length=12, sequences=2))
    levels = scores.chance("induction")
    assert f"chance up to {levels.max():.2f}" in str(at.header[0].value)
    notes = [note["text"] for figure in figures(at) for note in figure["layout"].get("annotations", ())]
    assert f"chance up to {levels.max():.2f}" in notes
