"""Whether a model says of a row among others what it says of the row alone, on as many as are really read beside each other.

Somebody's own code may take only so many tokens or rows at once. How many those are nobody knows, so what was found on few rows
holds for no more than these.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor, nn

from core.errors import ModelUnavailable
from core.transformer.loaded import LoadedModel
from core.transformer.passes.trials import end_tolerance

# How many are tried when a model is first looked at: patterns of many rows of many tokens would fill a memory.
_ROWS, _TOKENS = 8, 1024


class _Size(NamedTuple):
    rows: int
    tokens: int


_TRIED: weakref.WeakKeyDictionary[nn.Module, set[_Size]] = weakref.WeakKeyDictionary()


def rows_at_first(n_tokens: int) -> int:
    """How many rows of so many tokens are tried beside each other at a model's first check."""
    return max(2, min(_ROWS, _TOKENS // n_tokens))


def check_beside(
    model: LoadedModel, module: nn.Module, tokens: Int[Tensor, "batch tokens"], end_of: Callable[[Tensor], Tensor]
) -> None:
    """Hold the last of `tokens` among the others to that row alone, where no trial of `module` had as many rows and tokens.

    end_of: the unembedding's input of a clean pass of `module`. Only a model that was handed over has code of somebody's own.
    Raises ModelUnavailable where it says something else.
    """
    size, tried = _Size(len(tokens), tokens.numel()), _TRIED.setdefault(module, set())
    at_first = len(tokens) <= rows_at_first(tokens.shape[1])
    if model.given is None or at_first or any(one.rows >= size.rows and one.tokens >= size.tokens for one in tried):
        return
    # First of all, for the pass that tries it asks again.
    tried.add(size)
    among, alone = end_of(tokens)[-1].float(), end_of(tokens[-1:])[0].float()
    if float((among - alone).abs().max()) > end_tolerance(model) * float(alone.abs().max()):
        tried.discard(size)
        raise ModelUnavailable(
            f"What {model.card.name} says of a row depends on those that are read beside it, here {size.rows} of "
            f"{tokens.shape[1]} tokens: no number of it would be of one text."
        )
