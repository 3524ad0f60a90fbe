"""The scoring pass: every score of every head, and every token's loss, from one pass over the model and one over its control.

Patterns are reduced inside the hook and never kept: what leaves a hook is a few numbers for each head and sequence.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.forward import Hook, check_readout, pattern_hook, rows_per_pass, run_body, token_losses
from core.models.loaded import LoadedModel
from core.scores import PLACEBO_SHIFTS, SCORES, Cells, HeadScores, Layout, offset_cells
from core.sequences import Probe

Reduced = Float[Tensor, "batch n_heads"]
Progress = Callable[[float, str], None]


class PatternReducer:
    """Turns one layer's pattern into the mean of each score's cells, `[batch, n_heads]` each."""

    def __init__(self, layout: Layout, *, control: bool) -> None:
        self._cells: dict[str, Cells] = {}
        for name in ("induction",) if control else tuple(SCORES):
            cells = SCORES[name].cells
            if cells is not None:
                self._cells[name] = cells(layout)
        if not control:
            for shift in PLACEBO_SHIFTS:
                self._cells[_placebo(shift)] = offset_cells(layout, layout.length - 1 + shift)
        self._rows = {} if control else {name: score.rows for name, score in SCORES.items() if score.rows is not None}
        self._queries = torch.from_numpy(np.concatenate([q for q, _ in self._cells.values()]))
        self._keys = torch.from_numpy(np.concatenate([k for _, k in self._cells.values()]))
        self._sizes = [len(q) for q, _ in self._cells.values()]

    def __call__(self, pattern: Float[Tensor, "batch n_heads query key"]) -> dict[str, Reduced]:
        """Means over each score's queries; float32 whatever the pattern's format."""
        wanted = pattern[:, :, self._queries.to(pattern.device), self._keys.to(pattern.device)].float()
        parts = wanted.split(self._sizes, dim=-1)
        reduced = {
            name: part.mean(-1) if part.shape[-1] else part.sum(-1) for name, part in zip(self._cells, parts, strict=True)
        }
        for name, rows in self._rows.items():
            reduced[name] = rows(pattern).mean(-1)
        return {name: value.cpu() for name, value in reduced.items()}


def measure_heads(model: LoadedModel, probe: Probe, progress: Progress | None = None) -> HeadScores:
    """All scores of all heads on `probe`, and the loss of each of its tokens (nats)."""
    layout = Layout.of(probe)
    report = progress or (lambda fraction, message: None)
    passes = 2 if probe.control is not None else 1
    scores, token_loss = _pass(
        model, probe.tokens, PatternReducer(layout, control=False), lambda done: report(done / passes, "measuring the probe")
    )
    per_sequence = {name: scores[name] for name in SCORES}
    if probe.control is not None:
        control, _ = _pass(
            model,
            probe.control,
            PatternReducer(layout, control=True),
            lambda done: report(0.5 + done / 2, "measuring the control"),
        )
        per_sequence["induction_control"] = control["induction"]
    placebo = np.stack([scores[_placebo(shift)] for shift in PLACEBO_SHIFTS])
    return HeadScores(per_sequence=per_sequence, placebo=placebo, token_loss=token_loss, layout=layout)


def _pass(
    model: LoadedModel, tokens: np.ndarray, reduce: PatternReducer, report: Callable[[float], None]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reduced patterns `[n_layers, n_heads, sequences]` by name, and token losses `[sequences, tokens]`."""
    check_readout(model)
    ids = torch.from_numpy(np.array(tokens))
    rows = rows_per_pass(model, ids.shape[1])
    batches: list[dict[str, Tensor]] = []
    losses: list[Tensor] = []
    for start in range(0, len(ids), rows):
        batch = ids[start : start + rows]
        layers: list[dict[str, Reduced] | None] = [None] * model.card.n_layers
        with torch.no_grad():
            body = run_body(model, batch, [_reducing_hook(layer, layers, reduce) for layer in range(model.card.n_layers)])
            losses.append(token_losses(model, body.final, batch).cpu())
        seen = [layer for layer in layers if layer is not None]
        if len(seen) != model.card.n_layers:
            raise RuntimeError(f"only {len(seen)} of {model.card.n_layers} layers showed an attention pattern")
        batches.append({name: torch.stack([layer[name].T for layer in seen]) for name in seen[0]})
        report(min(1.0, (start + rows) / len(ids)))
    joined = {name: torch.cat([batch[name] for batch in batches], dim=-1).numpy() for name in batches[0]}
    return joined, torch.cat(losses).numpy()


def _placebo(shift: int) -> str:
    return f"placebo{shift:+d}"


def _reducing_hook(layer: int, layers: list[dict[str, Reduced] | None], reduce: PatternReducer) -> Hook:
    def keep_reduced(pattern: Tensor) -> None:
        layers[layer] = reduce(pattern)

    return pattern_hook(layer), keep_reduced
