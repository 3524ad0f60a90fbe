"""Numbers do not change when code moves: what the commands printed before the modules became folders, and print now."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from core.runtime import store
from tests.helpers.cli import run_json

RECORDED = json.loads((Path(__file__).parent / "recorded" / "before_the_move.json").read_text(encoding="utf-8"))
# Another processor adds the same float32 numbers in another order.
ROUNDING = 3e-6
# Copying centred the unembedding before the final gain, which LayerNorm does after it: off by up to .002 on these models.
BY_ANOTHER_ROUTE = {"copying": 3e-3, "direct_effect": 1e-5}


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _same(now: Any, before: Any, where: str = "") -> None:
    if isinstance(before, dict):
        for key, value in before.items():
            _same(now[key], value, f"{where}.{key}")
    elif isinstance(before, list):
        assert len(now) == len(before), where
        for index, (new, old) in enumerate(zip(now, before, strict=True)):
            _same(new, old, f"{where}[{index}]")
    elif isinstance(before, float):
        # The same processor, one thread, the same route: the same bits.
        exact = RECORDED["cpu"] == _cpu() and torch.get_num_threads() == 1
        assert now == before if exact else math.isclose(now, before, abs_tol=ROUNDING, rel_tol=ROUNDING), (where, now, before)
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
    for mode in ("mean", "zero", "pattern", "resample"):
        wanted = before[f"ablate {mode}"]
        now = run_json("ablate", "--model", model, "--heads", ",".join(wanted["heads"]), "--mode", mode)
        _same(now, {"heads": wanted["heads"], "loss": wanted["loss"]}, f"ablate {mode}")
        _same(now["baseline"]["second_copy"][: len(wanted["baseline"])], wanted["baseline"], f"ablate {mode}: baselines")
    now = {head["head"]: head for head in run_json("call", "--model", model)["heads"]}
    assert set(now) == {head["head"] for head in before["call"]}
    for old in before["call"]:
        renamed = old | {"contrast": {"value": old["contrast"], "low": old["ci"][0], "high": old["ci"][1]}}
        renamed["direct_effect"] = renamed.pop("dla")
        del renamed["ci"]
        # Read off modules now, not off their weights: the same numbers by another route.
        for name, loose in BY_ANOTHER_ROUTE.items():
            before_it = renamed.pop(name)
            assert math.isclose(now[old["head"]][name], before_it, abs_tol=loose, rel_tol=loose), (old["head"], name)
        _same(now[old["head"]], renamed, f"call {old['head']}")
