"""How far back each layer sees, read off its patterns: what a config calls a window differs from family to family."""

from __future__ import annotations

import weakref
from types import NoneType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from core.transformer.anatomy import trial_ids
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import hooks_attached, pattern_hook, run_body

# A layer sees all that comes before, or sees it in another way than by a window.
SEES_ALL, IRREGULAR = 0, -1
_SPOKEN_OF = ("window", "chunk", "local", "attention_types", "layer_types", "block_size")
# The kind of a layer that sees all, and from which layer on windows would begin if there were any.
_FULL, _FROM_WHERE = "full_attention", "max_window_layers"
# Of the cells within the window that must carry attention for it to be one.
_FILLED = 0.9
_KNOWN: weakref.WeakKeyDictionary[LoadedModel, dict[int, Int[np.ndarray, " n_layers"]]] = weakref.WeakKeyDictionary()


def layer_windows(model: LoadedModel, n_tokens: int) -> Int[np.ndarray, " n_layers"]:
    """How many tokens each layer sees, its own included, on a row of `n_tokens`: `SEES_ALL`, a window, or `IRREGULAR`.

    Read off one row's patterns, once for each model and length, in layers of which the configuration speaks of such a thing.
    """
    if hooks_attached():
        # What hooks make of the patterns is not the model's to keep.
        return _measured(model, n_tokens)
    known = _KNOWN.setdefault(model, {})
    if n_tokens not in known:
        known[n_tokens] = _measured(model, n_tokens)
    return known[n_tokens]


def window_of(pattern: Tensor) -> int:
    """What all heads of a layer together see, of `[batch, heads, queries, keys]` on as many queries as keys."""
    seen = (pattern != 0).flatten(0, 1).any(0)
    n_tokens = seen.shape[0]
    queries, keys = torch.nonzero(seen, as_tuple=True)
    window = int((queries - keys).max()) + 1
    if window < n_tokens:
        back = torch.arange(n_tokens, device=seen.device)[:, None] - torch.arange(n_tokens, device=seen.device)
        inside = (back >= 0) & (back < window)
        return window if int((seen & inside).sum()) >= _FILLED * int(inside.sum()) else IRREGULAR
    # Every query's own row and the first key's column are seen in some sparse patterns, too.
    return SEES_ALL if int(seen.sum()) >= _FILLED * n_tokens * (n_tokens + 1) / 2 else IRREGULAR


@torch.no_grad()
def _measured(model: LoadedModel, n_tokens: int) -> Int[np.ndarray, " n_layers"]:
    found = np.full(model.card.n_layers, SEES_ALL)
    said = _said(model)
    layers = [layer for layer in model.anatomy.attention if _may_have_one(said, layer)]
    if not layers:
        return found

    def keep(layer: int) -> Any:
        def hook(pattern: Tensor) -> None:
            found[layer] = window_of(pattern)

        return hook

    tokens = trial_ids(model.card.d_vocab, 1, n_tokens).to(model.device)
    run_body(model, tokens, [(pattern_hook(layer), keep(layer)) for layer in layers])
    return found


def _may_have_one(said: dict[str, Any], layer: int) -> bool:
    """Whether the config speaks of it. A layer that it calls full has none: very sharp heads let go of what is far, too."""
    kinds = said.get("layer_types")
    kind = kinds[layer] if isinstance(kinds, (list, tuple)) and layer < len(kinds) else None
    if kind == _FULL:
        return False
    spoken_of = [value for name, value in said.items() if name != _FROM_WHERE and any(word in name for word in _SPOKEN_OF)]
    return any(not isinstance(value, (bool, int, NoneType)) or value for value in spoken_of)


def _said(model: LoadedModel) -> dict[str, Any]:
    """What the config says, by name; of a nested one what its language model's says, too."""
    config: Any = getattr(model.module, "config", None)
    if config is None:
        return {}
    said = config.to_dict() if hasattr(config, "to_dict") else vars(config)
    inner = said.get("text_config")
    return {str(name): value for name, value in (said | (inner if isinstance(inner, dict) else {})).items()}
