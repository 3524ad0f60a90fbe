"""Ablation in twenty lines: read this first, then `ablator.py`, which does the same for many sets at once and fast.

Background: a head's output `z` is what it writes before `W_O`. To ask what a head is worth, put something else in its
place and see what the loss becomes: nothing (`zero`), the mean over the sequences of the pass for each position (`mean`),
or the head's own output on the sequence before (`resample`).
References: Olsson et al. 2022 (In-context learning and induction heads); Wang et al. 2022 (a circuit for indirect object
identification).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from core.heads import HeadLike, head_set
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.transformer.passes.hooks import Hook, attached, z_hook

Z = Float[Tensor, "batch tokens n_heads d_head"]


@contextmanager
def ablated(
    asked: Subject | Request | str, heads: Sequence[HeadLike], method: Literal["zero", "mean", "resample"] = "zero"
) -> Iterator[Any]:
    """Inside, every pass of the module that this gives runs without `heads`; afterwards nothing is left of it.

    >>> import torch
    >>> from core import ablated
    >>> tokens = torch.tensor([[0, 5, 9, 7, 5, 9]])
    >>> with ablated("by-construction", ["L0H2"]) as model:
    ...     without = model(tokens)[0, -2].argmax().item()
    >>> with ablated("by-construction", []) as model:
    ...     whole = model(tokens)[0, -2].argmax().item()
    >>> (whole, without == whole)
    (9, False)

    Raises BadInput for a head that the model does not have, ModelUnavailable if it cannot be loaded.
    """
    # Of how many tokens the sequences will be is not known yet.
    model = bind(asked).load(unchecked=True)
    wanted = head_set(heads, model.card.n_layers, model.card.n_heads)

    def hook_of(layer: int) -> Hook:
        lost = [head.head for head in wanted if head.layer == layer]

        def replaced(z: Z) -> Z:
            other = {"zero": z * 0, "mean": z.mean(0, keepdim=True).expand_as(z), "resample": z.roll(1, 0)}[method]
            z = z.clone()
            z[:, :, lost] = other[:, :, lost]
            return z

        return z_hook(layer), replaced

    with attached(model, [hook_of(layer) for layer in sorted({head.layer for head in wanted})]):
        yield model.module
