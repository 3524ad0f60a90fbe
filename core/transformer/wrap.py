"""The one place where a module of the model library becomes a `LoadedModel`."""

from __future__ import annotations

from typing import Any

from torch import nn

from core.errors import ModelUnavailable
from core.transformer.bare import bare_twin
from core.transformer.card import ModelIdentity
from core.transformer.loaded import LoadedModel

NATIVE = "TransformerLensNative"


def wrap(module: nn.Module, identity: ModelIdentity, *, architecture: str, config: Any) -> LoadedModel:
    """`module` behind the library's bridge, which changes it in place, beside a bare twin that shares its weights.

    architecture: the library's name for the kind of model. config: the bridge's own.

    Raises ModelUnavailable if the library cannot wrap it.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    # First: the twin is of the module as it was.
    bare = bare_twin(module)
    name = identity.card.name
    try:
        bridge = build_bridge_from_module(module, architecture=architecture, tl_config=config, tokenizer=None, model_name=name)
    except (ValueError, KeyError, AttributeError, NotImplementedError, TypeError, AssertionError) as error:
        raise ModelUnavailable(f"TransformerLens cannot wrap {name} ({architecture}): {error}.") from error
    return LoadedModel(identity=identity, bridge=bridge, bare=bare)
