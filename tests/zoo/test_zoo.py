"""A sample of each kind of the zoo; `make zoo` is all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo.build import save
from tests.zoo.rows import ROWS

SAMPLE = (
    "gpt2-unscaled",
    "mistral-window-4",
    "mistral-window-16",
    "lfm2",
    "qwen3_5_text",
    "deepseek_v3",
    "opt-post-norm",
    "falcon-new-decoder",
    "granite-issue",
    "gemma2-soft-caps",
    "olmo2",
    "gpt_oss",
    "bloom",
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
