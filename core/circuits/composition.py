"""K-, Q- and V-composition: how much of what one head writes a later head reads as key, query or value (Elhage et al. 2021).

Weights act on row vectors here: a head adds `x W_OV` with `W_OV = W_V W_O`, and scores `x_q W_QK x_k^T` with
`W_QK = W_Q W_K^T`. What an earlier head wrote, `x W_OV^e`, is read

- on the key side by `M = W_QK^T`, as query by `M = W_QK`, as value by `M = W_OV`,

and the composition is `||W_OV^e M||_F / (||W_OV^e||_F ||M||_F)`. Two random matrices of these shapes have some, too: that
is the baseline, to be subtracted. Only `d_head x d_head` products are formed for a pair, never `d_model x d_model`.

Gains of the input norms, and LayerNorm's centring, are in the weights; scales that depend on the token are not. Rotary
positions, norms after the attention and biases are left out. Where queries and keys are no linear maps (norms of their own,
latent attention) there is no matrix: that composition is withheld, the others are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import mode
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from core.circuits.circuit import KINDS
from core.errors import Withheld
from core.heads import Head
from core.runtime.made_once import made_once
from core.transformer.loaded import LoadedModel
from core.transformer.passes.weights import query_and_key, reads, values_and_outputs

BASELINE_DRAWS = 16
T = TypeVar("T")


@dataclass(frozen=True)
class Factors:
    """A matrix `left @ right` of rank `d_head`, by what its norms and products need."""

    left: Float[Tensor, "d_model d_head"]
    right: Float[Tensor, "d_head d_model"]

    @made_once
    def left_gram(self) -> Float[Tensor, "d_head d_head"]:
        """`left^T left`."""
        return self.left.T @ self.left

    @made_once
    def right_gram(self) -> Float[Tensor, "d_head d_head"]:
        """`right right^T`."""
        return self.right @ self.right.T

    @made_once
    def norm(self) -> Float[Tensor, ""]:
        """Frobenius norm of the whole matrix."""
        return _root((self.left_gram * self.right_gram).sum())


def composition(written: Factors, read: Factors) -> float:
    """`||E M||_F / (||E||_F ||M||_F)` for `E = written`, `M = read`; 0 where either is zero."""
    return _with_each(written, [read], read.left)[0]


def _with_each(written: Factors, read: Sequence[Factors], lefts: Float[Tensor, "d_model widths"]) -> list[float]:
    """The composition of a head with each of `read`, whose left factors stand beside each other in `lefts`.

    One product for all of them: thousands of small ones would spend their time on being called.
    """
    between = written.right @ lefts
    weighted, found, column = written.left_gram @ between, [], 0
    for matrix in read:
        columns = slice(column, column := column + matrix.left.shape[1])
        product = _root(((weighted[:, columns] @ matrix.right_gram) * between[:, columns]).sum())
        size = float(written.norm * matrix.norm)
        found.append(float(product) / size if size > 0 else 0.0)
    return found


def compositions(model: LoadedModel, receiver: Head) -> tuple[Float[Tensor, "kinds n_layers n_heads"], str | None]:
    """`all_compositions` of one receiver."""
    found, reason = all_compositions(model, [receiver])
    return found[0], reason


@torch.no_grad()
def all_compositions(
    model: LoadedModel, receivers: Sequence[Head]
) -> tuple[Float[Tensor, "receivers kinds n_layers n_heads"], str | None]:
    """K-, Q- and V-composition of every head in an earlier layer with each of `receivers`; NaN elsewhere, and where withheld.

    And the first reason why some are withheld, in one sentence, if any are. A head's weights are read once for all of them.
    """
    shape = (len(receivers), len(KINDS), model.card.n_layers, model.card.n_heads)
    found = torch.full(shape, float("nan"), dtype=torch.float64)
    reasons: list[str] = []

    def shown(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except Withheld as error:
            reasons.append(str(error))
            return None

    read = [[shown(partial(_reader, model, receiver, kind)) for kind in KINDS] for receiver in receivers]
    for layer in model.anatomy.attention:
        later = {
            (place, kind): matrix
            for place, receiver in enumerate(receivers)
            for kind, matrix in enumerate(read[place])
            if receiver.layer > layer and matrix is not None
        }
        if not later:
            continue
        lefts = torch.cat([matrix.left for matrix in later.values()], dim=1)
        for head, one in enumerate(shown(partial(writers, model, layer)) or ()):
            for where, value in zip(later, _with_each(one, list(later.values()), lefts), strict=True):
                found[(*where, layer, head)] = value
    return found, reasons[0] if reasons else None


def usual_shape(model: LoadedModel) -> tuple[int, int]:
    """`d_model`, and the width of what a head writes from, in most layers: a config may state another one."""
    return model.anatomy.d_model, mode(part.d_head for part in model.anatomy.attention.values())


@torch.no_grad()
def baseline(d_model: int, d_head: int, seed: int = 0, draws: int = BASELINE_DRAWS) -> float:
    """The mean composition of random Gaussian matrices of these shapes; the same for all three kinds."""
    random = torch.Generator().manual_seed(seed)

    def drawn() -> Factors:
        left = torch.randn(d_model, d_head, generator=random, dtype=torch.float64)
        return Factors(left, torch.randn(d_head, d_model, generator=random, dtype=torch.float64))

    return sum(composition(drawn(), drawn()) for _ in range(draws)) / draws


def writer(model: LoadedModel, head: Head) -> Factors:
    """`W_OV` of a head, from the residual stream to the residual stream; raises Withheld where it has none."""
    return next(islice(writers(model, head.layer), head.head, None))


def writers(model: LoadedModel, layer: int) -> Iterator[Factors]:
    """The same of every head of a layer, whose weights are read once; one after the other, for they are large.

    Raises Withheld at once, not on the way.
    """
    values, outputs = values_and_outputs(model, layer)
    read = reads(model, layer, values.flatten(1)).view_as(values)
    return (Factors(_exact(read[:, head]), _exact(output)) for head, output in enumerate(outputs))


def _reader(model: LoadedModel, head: Head, kind: str) -> Factors:
    """What a head reads as key (`W_QK^T`), query (`W_QK`) or value (`W_OV`)."""
    if kind == "v":
        return writer(model, head)
    query, key = (_exact(reads(model, head.layer, matrix)) for matrix in query_and_key(model, *head))
    return Factors(key, query.T) if kind == "k" else Factors(query, key.T)


def _exact(matrix: Tensor) -> Tensor:
    """Double precision: traces of products of four matrices cancel."""
    return matrix.cpu().double()


def _root(square: Tensor) -> Tensor:
    # Rounding can leave a square a hair below zero.
    return square.clamp(min=0).sqrt()
