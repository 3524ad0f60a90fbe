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
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor

from core.errors import BadInput
from core.heads import HeadLike, head_set
from core.models.load import reread_if_changed
from core.runtime.cache import nothing_measured
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.transformer.conformance import check_removal
from core.transformer.passes.hooks import Hook, attached, untouched, z_hook

Method = Literal["zero", "mean", "resample"]
_MEASURED = (
    "Inside `ablated` only the module that it gives runs without the heads: what is asked for here would be kept as the whole "
    "model's. Ask outside of it (`ablate` measures what heads cost)."
)
_ELSEWHERE = (
    "`ablated` takes heads away in the thread that began it: make the pass there, or begin `ablated` in the thread of the pass."
)
Z = Float[Tensor, "batch tokens n_heads d_head"]


@contextmanager
def ablated(asked: Subject | Request | str, heads: Sequence[HeadLike], method: Method = "zero") -> Iterator[Any]:
    """Inside, every pass of the module that this gives runs without `heads`; afterwards nothing is left of it.

    The passes are those of this thread, of at least 2 sequences for `mean` and `resample`. Nothing is measured inside by the
    other functions, whose results are the whole model's and are kept. The module is the one that they use: its weights are not
    this function's to change, and a model of which something is left changed is read anew from its files.

    >>> import torch
    >>> from core import ablated
    >>> tokens = torch.tensor([[0, 5, 9, 7, 5, 9]])
    >>> with ablated("by-construction", ["L0H2"]) as model:
    ...     without = model(tokens)[0, -2].argmax().item()
    >>> with ablated("by-construction", []) as model:
    ...     whole = model(tokens)[0, -2].argmax().item()
    >>> (whole, without == whole)
    (9, False)

    Raises BadInput for a head that the model does not have, for one that cannot be taken away whole, and for a method that
    there is not; ModelUnavailable if the model cannot be loaded.
    """
    if method not in get_args(Method):
        raise BadInput(f"The method must be one of {', '.join(get_args(Method))}, not {method!r}.")
    # Of how many tokens the sequences will be is not known yet.
    model = bind(asked).load(unchecked=True)
    wanted = head_set(heads, model.card.n_layers, model.card.n_heads)
    model.check_heads(wanted)
    if wanted:
        with untouched():
            check_removal(model)

    def hook_of(layer: int) -> Hook:
        lost = [head.head for head in wanted if head.layer == layer]

        def replaced(z: Z) -> Z:
            if method != "zero" and len(z) < 2:
                raise BadInput(f"One sequence has no others for `{method}`: give at least 2 at once, or take `zero`.")
            other = {"zero": z * 0, "mean": z.mean(0, keepdim=True).expand_as(z), "resample": z.roll(1, 0)}[method]
            z = z.clone()
            z[:, :, lost] = other[:, :, lost]
            return z

        return z_hook(layer), replaced

    hooks = [hook_of(layer) for layer in sorted({head.layer for head in wanted})]
    refusals = (_MEASURED, _ELSEWHERE) if hooks else ("", "")
    with reread_if_changed(model), nothing_measured(refusals[0]), attached(model, hooks, elsewhere=refusals[1]):
        yield model.module
