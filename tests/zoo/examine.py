"""One row of the zoo examined: every quantity that the product gives of a model, beside the oracle's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.cli import COMMANDS
from core.models.load import forget_models, load_model
from core.probes.probe import Probe
from core.settings.request import Request
from core.settings.subject import bind
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import run_body
from core.verdicts.attribution import DirectEffects
from tests.zoo.direct import Writing
from tests.zoo.oracle import Oracle
from tests.zoo.product import LENGTH, PROBE, SEQUENCES, Said, command
from tests.zoo.verdict import Verdict, compared, finite, worst

SCORES = ("induction", "previous_token", "duplicate_token", "current_token", "sink", "entropy", "contrast")
QUANTITIES = (
    "losses",
    "scores",
    "ablation",
    "total effect",
    "causal map",
    "direct effect",
    "path patching",
    "labels",
    "conform",
)


def examine(name: str, folder: Path) -> dict[str, Verdict]:
    """Every quantity's verdict; `folder` lies in `HEADSCOPE_MODELS` under `name`."""
    try:
        oracle, cannot = _oracle(name, folder), ""
    except Exception as error:
        oracle, cannot = None, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    try:
        return _Row(name, oracle, cannot).verdicts()
    finally:
        forget_models()


def _oracle(name: str, folder: Path) -> Oracle:
    try:
        probe = bind(Request(model=name, length=LENGTH, sequences=SEQUENCES)).probe
    except Exception:
        # The product will say what it thinks of the model; whether it may is asked on ids of our own.
        tokens = np.stack([np.tile(np.random.default_rng(row).permutation(np.arange(3, 200))[:LENGTH], 2) for row in (0, 1)])
        return Oracle(folder, tokens, tokens, LENGTH)
    assert probe.control is not None
    return Oracle(folder, probe.tokens, probe.control, probe.length, probe.shuffled, probe.rotated)


class _Row:
    def __init__(self, name: str, oracle: Oracle | None, cannot: str) -> None:
        self.name, self.oracle, self.cannot = name, oracle, cannot
        layers = sorted(oracle.seen) if oracle is not None else []
        self.first, self.last = (layers[0], layers[-1]) if layers else (0, 1)

    def verdicts(self) -> dict[str, Verdict]:
        score = self._run("score", *PROBE)
        taken = [f"L{self.first}H1", f"L{self.last}H2"]
        ablate = self._run("ablate", *PROBE, "--heads", ",".join(taken), "--mode", "zero", "--baselines", "2")
        causal = self._run("causal", *PROBE, "--mode", "zero")
        call = self._run("call", "--length", str(LENGTH))
        circuit = self._run("circuit", *PROBE, "--mode", "zero", "--previous", taken[0], "--induction", taken[1])
        found = {
            "losses": self._judged(score, self._losses),
            "scores": self._judged(score, self._scores),
            "ablation": self._judged(ablate, self._ablation),
            "total effect": self._judged(ablate, self._total_effect),
            "causal map": self._judged(causal, self._causal_map),
            "direct effect": self._judged(call, lambda facts: self._direct_effect()),
            "path patching": self._judged(circuit, self._path_patching),
            "labels": self._judged(call, self._labels),
        }
        if "conform" in COMMANDS:
            found["conform"] = self._judged(self._run("conform", *PROBE), self._conform)
        return found

    def _run(self, *words: str) -> Said:
        return command(words[0], "--model", self.name, *words[1:])

    def _judged(self, said: Said, judge: Any) -> Verdict:
        if said.traceback is not None:
            return Verdict("TRACEBACK", said.traceback)
        if said.facts is None:
            return Verdict("refused", said.refused or "")
        if self.oracle is None:
            return Verdict("unchecked", self.cannot)
        try:
            causal = self.oracle.causal
        except Exception as error:
            return Verdict("unchecked", f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")
        if not causal:
            return Verdict("WRONG", "the model sees later tokens, and is measured all the same")
        verdict: Verdict = judge(said.facts)
        return verdict

    # Each quantity.

    def _losses(self, facts: dict[str, Any]) -> Verdict:
        assert self.oracle is not None
        first, second = self.oracle.copies(self.oracle.clean_loss)
        found = [facts["loss"]["first_copy"], facts["loss"]["second_copy"]]
        parts = {"copies": compared(found, [first, second], unit=max(first, second))}
        for name, loss in self.oracle.behaviour().items():
            parts[name] = compared(facts["behaviour"][name], loss, unit=loss)
        return worst(parts)

    def _scores(self, facts: dict[str, Any]) -> Verdict:
        assert self.oracle is not None
        names = SCORES if self.oracle.rotated is None else (*SCORES, "rotation_contrast")
        return worst({name: compared(facts["scores"].get(name), self.oracle.score(name)) for name in names})

    def _ablation(self, facts: dict[str, Any]) -> Verdict:
        assert self.oracle is not None
        heads = self._taken()
        if heads is None:
            return compared(facts["loss"]["ablated"]["second_copy"], None, reason=_reason(facts, "ablation"))
        loss = self.oracle.ablated_loss(heads)
        found = [facts["loss"]["ablated"]["first_copy"], facts["loss"]["ablated"]["second_copy"]]
        parts = {
            "losses": compared(
                _numbers(found), self.oracle.copies(loss), unit=float(np.nanmax(loss)), reason=_reason(facts, "ablation")
            ),
            "by position": compared(facts["per_position"]["ablated"], loss.mean(0), unit=float(np.nanmax(loss))),
        }
        return worst(parts)

    def _total_effect(self, facts: dict[str, Any]) -> Verdict:
        assert self.oracle is not None
        effect = facts.get("total_effect")
        if effect is None:
            return Verdict("withheld", _reason(facts, "total_effect") or "not there yet")
        heads = self._taken()
        wanted = None if heads is None else Writing(self.oracle).total(heads)
        return compared(effect["logits"]["value"], wanted, unit=abs(wanted or 1))

    def _causal_map(self, facts: dict[str, Any]) -> Verdict:
        assert self.oracle is not None
        effect, wanted = facts["effect"], self.oracle.causal_map
        if effect is None or not np.isfinite(np.array(effect, dtype=np.float64)).any():
            return Verdict("withheld", _reason(facts, "ablation") or "null")
        if not all(self.oracle.can_ablate(layer) for layer in self.oracle.seen):
            return Verdict("unchecked", "a layer's heads have no outputs of their own")
        return compared(effect, wanted, unit=max(self.oracle.copies(self.oracle.clean_loss)))

    def _direct_effect(self) -> Verdict:
        """By the function: a random model has no gain, so the command has nothing to give a share of."""
        assert self.oracle is not None
        probe = bind(Request(model=self.name, length=LENGTH, sequences=SEQUENCES)).probe
        try:
            found = _direct_effects(load_model(self.name), probe)
        except Exception as error:
            if type(error).__name__ == "Withheld":
                return Verdict("withheld", str(error))
            return Verdict("TRACEBACK", f"direct effect: {type(error).__name__}: {' '.join(str(error).split())[:120]}")
        found = found.mean(-1) if found.ndim == 3 else found
        wanted, writing = np.full(found.shape, np.nan), Writing(self.oracle)
        for layer in self.oracle.seen:
            by_head = writing.direct(layer)
            if by_head is None:
                return Verdict("unchecked", "what a head writes reaches the logits by no linear path")
            wanted[layer] = by_head
        return compared(found, wanted, unit=float(np.nanmax(np.abs(wanted))))

    def _path_patching(self, facts: dict[str, Any]) -> Verdict:
        assert self.oracle is not None
        edges = facts["edges"]
        if not edges:
            return Verdict("withheld", _reason(facts, "path_patching") or "no edge")
        matching = edges[0]["prefix_matching"]
        wanted = self.oracle.score("induction")[self.last, 2]
        clean = compared(matching["clean"], wanted, reason=_reason(facts, "path_patching"))
        return clean

    def _labels(self, facts: dict[str, Any]) -> Verdict:
        """A model with random weights has no induction head; and only heads that there are have rows with numbers."""
        assert self.oracle is not None
        called = [row["head"] for row in facts["heads"] if row["label"] in ("induction", "anti-induction")]
        if called:
            return Verdict("WRONG", f"random weights, yet called: {', '.join(called)}")
        there = {f"L{layer}H{head}" for layer in self.oracle.seen for head in range(self.oracle.n_heads)}
        said = {row["head"] for row in facts["heads"] if finite(_value(row["contrast"]))}
        if said - there:
            return Verdict("WRONG", f"a label for heads that there are not: {', '.join(sorted(said - there))}")
        return Verdict("right") if said == there else Verdict("withheld", f"{len(there - said)} heads have no contrast")

    def _conform(self, facts: dict[str, Any]) -> Verdict:
        failed = [check for check in facts["checks"] if not check["passed"]]
        if not failed:
            return Verdict("right")
        return Verdict("withheld", "; ".join(f"{check['name']}: {check.get('reason') or 'failed'}" for check in failed))

    def _taken(self) -> list[tuple[int, int]] | None:
        assert self.oracle is not None
        whole = self.oracle.can_ablate(self.first) and self.oracle.can_ablate(self.last)
        return [(self.first, 1), (self.last, 2)] if whole else None


def _direct_effects(model: LoadedModel, probe: Probe) -> np.ndarray:
    """`[n_layers, n_heads, sequences]`, in a pass over the model library's own module; raises as `DirectEffects.found`."""
    tokens = torch.from_numpy(np.array(probe.tokens))
    effects = DirectEffects(model, probe.layout.second_copy_targets)
    effects(tokens, model.module, partial(run_body, model, tokens))
    return effects.found


def _reason(facts: dict[str, Any], what: str) -> str:
    withheld = facts.get("withheld")
    if isinstance(withheld, dict):
        return str(withheld.get(what, ""))
    return "; ".join(map(str, withheld)) if withheld else ""


def _value(number: Any) -> Any:
    return number.get("value") if isinstance(number, dict) else number


def _numbers(values: list[Any]) -> list[Any] | None:
    return None if all(value is None for value in values) else values
