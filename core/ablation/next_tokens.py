"""What a model expects next on a typed text, with and without some heads, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from core.ablation.subjects import ABLATION_VERSION, checked_heads
from core.attention.rows import TokenRow
from core.heads import HeadLike, HeadSet, names
from core.runtime.cache import cached
from core.runtime.store import Stored
from core.settings.modes import Mode
from core.settings.subject import Subject

LIKELIEST = 8


@dataclass(frozen=True)
class NextTokens:
    """The likeliest next tokens after a text: ids and probabilities, with all heads and without `heads`, best first.

    other: what each of these gets in the other run.
    """

    heads: HeadSet
    ids: Int[np.ndarray, "both likeliest"]
    probability: Float[np.ndarray, "both likeliest"]
    other: Float[np.ndarray, "both likeliest"]


def next_tokens(subject: Subject, row: TokenRow, heads: Sequence[HeadLike], mode: Mode = "mean") -> NextTokens:
    """After the last token of `row`. Where a mean stands in for the heads it is their own over this text.

    Raises BadInput for heads or a mode that this model cannot have.
    """
    wanted = checked_heads(subject, heads)
    # A text is alone: there is no other to take outputs from.
    used: Mode = "mean" if mode == "resample" else mode

    def compute() -> Stored:
        import torch

        from core.ablation.ablator import Ablator
        from core.transformer.passes.readout import logits_from

        model, tokens = subject.load(row.n_tokens), np.array([row.ids], dtype=np.int64)
        ablator = Ablator(model, tokens, tokens, mean_over_positions=True)

        def last(final: torch.Tensor) -> np.ndarray:
            return torch.softmax(logits_from(model, final[:, -1]), -1).cpu().numpy()

        found = ablator.at_the_end([(), wanted], used, last)[:, 0]
        ids = np.argsort(-found, axis=-1)[:, :LIKELIEST]
        own = np.take_along_axis(found, ids, -1)
        return Stored({"ids": ids, "probability": own, "other": np.take_along_axis(found[::-1], ids, -1)}, {})

    key = subject.model_key("next-tokens", ids=list(row.ids), heads=names(wanted), mode=used, version=ABLATION_VERSION)
    return NextTokens(wanted, **cached(key, compute).arrays)
