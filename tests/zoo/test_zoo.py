"""A sample of each kind of the zoo; `make zoo` is all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.cli import run_json
from tests.zoo.build import save
from tests.zoo.rows import ROWS

SAMPLE = (
    "gpt2-unscaled",
    "mistral-window-4",
    "mistral-window-16",
    "lfm2",
    "llama-long-rotary",
    "qwen3_5_text",
    "deepseek_v3",
    "opt-post-norm",
    "falcon-new-decoder",
    "granite-issue",
    "gemma2-soft-caps",
    "olmo2",
    "gpt_oss",
    "bloom",
    "mpt",
    "xglm",
    "bert",
    "zaya",
    "bert-masked",
    "mamba",
)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_row_is_right_or_withheld_or_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.zoo.examine import examine

    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path / "models"))
    verdicts = examine(name, save(ROWS[name], tmp_path / "models"))
    bad = {quantity: verdict for quantity, verdict in verdicts.items() if verdict.kind in ("WRONG", "TRACEBACK")}
    assert not bad


def test_what_else_an_attention_chooses_on_the_way_is_no_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    """At 128 tokens one choice between the blocks of this family's compressed keys has as many rows as there are queries."""
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    name = save(ROWS["deepseek_v4"], tmp_path).name
    for length in (63, 64):
        found = run_json("score", "--model", name, "--length", str(length), "--sequences", "1")
        scores = [value for layer in found["scores"]["induction"] for value in layer if value is not None]
        assert scores and 0 <= min(scores) <= max(scores) <= 1
