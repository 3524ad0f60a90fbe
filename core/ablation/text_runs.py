"""Windows of a text run again without heads, a few at a time: losses by target, and lag profiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from core.ablation.ablator import Ablator
from core.ablation.reference import ReferenceMeans
from core.heads import HeadSet
from core.settings.modes import Mode
from core.text.cells import occurrences
from core.text.text_pass import predictions
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import rows_per_pass
from core.transformer.passes.hooks import Hidden

# At least two: a resampled output comes from another window.
MIN_BATCH = 2


def ablated_on_text(
    model: LoadedModel,
    tokens: Int[np.ndarray, "windows tokens"],
    reference: Int[np.ndarray, "others tokens"],
    sets: Sequence[HeadSet],
    mode: Mode,
    *,
    b: int,
    uncounted: frozenset[int] = frozenset(),
    on_share: Callable[[float], None] | None = None,
) -> tuple[Float[np.ndarray, "sets windows tokens"], Float[np.ndarray, "sets windows lags"]]:
    """Losses by target and lag profiles with each of `sets` taken away; an empty set is the untouched model.

    reference: windows whose mean over all positions stands in, in mode `mean`. A few windows at a time.

    Raises BadInput as `Ablator.token_loss`.
    """
    means = ReferenceMeans(model, reference, over_positions=True)
    size = max(MIN_BATCH, rows_per_pass(model, tokens.shape[1], makes_way=True))
    # A last window alone would have no other to be resampled from.
    starts = [start for start in range(0, len(tokens), size) if len(tokens) - start >= MIN_BATCH or not start]
    losses, lags = [], []
    for done, start in enumerate(starts):
        rows = tokens[start:] if done == len(starts) - 1 else tokens[start : start + size]
        same = np.stack([occurrences(row, b, uncounted) for row in rows])
        batch = torch.from_numpy(np.array(rows))

        def read(final: Hidden, batch: torch.Tensor = batch, same: np.ndarray = same) -> np.ndarray:
            return np.concatenate(predictions(model, final, batch, same, b), 1)

        def share(part: float, done: int = done) -> None:
            if on_share is not None:
                on_share((done + part) / len(starts))

        found = Ablator(model, rows, means).at_the_end(sets, mode, read, share)
        losses.append(found[:, :, : tokens.shape[1]])
        lags.append(found[:, :, tokens.shape[1] :])
    return np.concatenate(losses, 1), np.concatenate(lags, 1)
