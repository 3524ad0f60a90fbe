"""The one place where a module of the model library becomes a `LoadedModel`."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from core.errors import ModelUnavailable
from core.numbers import counted
from core.transformer.anatomy import anatomy_of
from core.transformer.bare import bare_twin
from core.transformer.card import ModelIdentity
from core.transformer.loaded import LoadedModel

NATIVE = "TransformerLensNative"


def wrap(module: nn.Module, identity: ModelIdentity, given: nn.Module | None = None) -> LoadedModel:
    """`module`, with eager attention, beside a twin that shares its weights; `given` is as it was handed over.

    Raises ModelUnavailable, with the reason, for a model whose heads cannot be found.
    """
    anatomy = anatomy_of(module, identity.card.name, identity.card.d_vocab)
    if len(anatomy.blocks) != identity.card.n_layers:
        raise ModelUnavailable(
            f"The config of {identity.card.name} states {counted(identity.card.n_layers, 'layer')}, but it "
            f"has {len(anatomy.blocks)}."
        )
    if anatomy.n_heads != identity.card.n_heads and identity.card.source == "memory":
        identity = replace(identity, card=replace(identity.card, n_heads=anatomy.n_heads))
    if anatomy.n_heads > identity.card.n_heads:
        # Whoever asked knows the config alone, and has room for so many.
        raise ModelUnavailable(
            f"The config of {identity.card.name} states {counted(identity.card.n_heads, 'head')} a layer, but it has "
            f"{anatomy.n_heads}."
        )
    return LoadedModel(identity=identity, module=module, anatomy=anatomy, bare=bare_twin(module), given=given)
