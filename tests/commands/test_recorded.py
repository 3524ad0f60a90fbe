"""Numbers do not change when code moves: what the commands printed before the modules became folders, and print now."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.runtime import store
from tests.helpers.cli import run_json

RECORDED = json.loads((Path(__file__).parent / "recorded" / "before_the_move.json").read_text(encoding="utf-8"))
# Another processor, or another road to the same number, adds the same float32 numbers in another order.
ROUNDING = 3e-6


def _same(now: Any, before: Any, where: str = "") -> None:
    if isinstance(before, dict):
        for key, value in before.items():
            _same(now[key], value, f"{where}.{key}")
    elif isinstance(before, list):
        assert len(now) == len(before), where
        for index, (new, old) in enumerate(zip(now, before, strict=True)):
            _same(new, old, f"{where}[{index}]")
    elif isinstance(before, float):
        assert math.isclose(now, before, abs_tol=ROUNDING, rel_tol=ROUNDING), (where, now, before)
    else:
        assert now == before, where


@pytest.mark.parametrize("model", sorted(RECORDED["models"]))
def test_every_number_of_every_bundled_model_is_what_it_was(
    model: str, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Measured now, not read from what travels with the project.
    monkeypatch.setattr(store, "BUNDLED_RESULTS", tmp_path / "nothing")
    before = RECORDED["models"][model]
    _same(run_json("score", "--model", model), before["score"], "score")
    # The mean is taken over other sequences now, and other sets are drawn beside a set.
    for mode in ("zero", "pattern", "resample"):
        wanted = before[f"ablate {mode}"]
        now = run_json("ablate", "--model", model, "--heads", ",".join(wanted["heads"]), "--mode", mode)
        _same(now, {"heads": wanted["heads"], "loss": wanted["loss"]}, f"ablate {mode}")
