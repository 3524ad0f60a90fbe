"""A model that is already in memory: measured as it is, left as it is.

A causal model of the model library (trained just now, merged with its adapter, quantised) is measured through a twin that
shares its weights, because a bridge changes the module that it wraps. A TransformerLens bridge is measured as it stands.
"""

from __future__ import annotations

import copy
import re
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.parameter import is_lazy
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from core.errors import BadInput, ModelUnavailable
from core.models.authorship import written_in
from core.models.fingerprint import fingerprint
from core.models.formats.hf_config import text_config
from core.models.formats.hf_folder import CardTexts, check_kind, identity_from
from core.models.formats.tokenizer_files import TokenizerFacts, bos_of, tokenizer_facts
from core.runtime.torch_defaults import usual_torch
from core.transformer.anatomy import run_module, trial_ids
from core.transformer.card import ModelIdentity
from core.transformer.loaded import LoadedModel
from core.transformer.passes.shown import check_shown
from core.transformer.wrap import wrap

# Libraries whose hooks move tensors or record outputs, and change no number.
_HARMLESS_HOOKS = ("transformers.", "transformer_lens.", "accelerate.", "torch.")
# And whose own forwards only run what was there before them. Those of torch, and the rest of `accelerate`, do not: one may be
# compiled, or computes in another precision.
_HARMLESS_FORWARDS = ("transformers.", "transformer_lens.", "accelerate.hooks.")


class _Adopted(NamedTuple):
    loaded: LoadedModel
    rules: tuple[str, int | None]


_adopted: weakref.WeakKeyDictionary[nn.Module, _Adopted] = weakref.WeakKeyDictionary()


@usual_torch()
def adopt(model: Any, tokenizer: Any = None) -> LoadedModel:
    """A model that was handed over, ready to run; its digest is of what it computes with now: `fingerprint`.

    Args:
        model: a causal model of the model library, or a TransformerLens bridge without folded weights.
        tokenizer: a fast tokenizer of the model library, or one of `tokenizers`; ids stand for token names without one.

    Raises BadInput for something that is no such model, ModelUnavailable if it is of a kind that cannot be measured.
    """
    if not isinstance(model, nn.Module):
        raise BadInput(f"A model is a name, a folder, or a causal model in memory, not a {type(model).__name__}.")
    outermost, model = model, _inside(model)
    is_bridge = _is_of_a_bridge(model) and hasattr(model, "original_model") and hasattr(model, "hook_dict")
    module: Any = model.original_model if is_bridge else model
    tokenizer = getattr(model, "tokenizer", None) if tokenizer is None and is_bridge else tokenizer
    if is_bridge and getattr(model, "compatibility_mode", False):
        raise BadInput(
            "This bridge is in compatibility mode, in which its weights may be folded: then an ablation takes away too "
            "little. Give it as `boot_transformers` makes it."
        )
    if is_bridge and any(point.fwd_hooks or point.bwd_hooks for point in model.hook_dict.values()):
        raise BadInput(
            "This bridge has hooks of its own: what they compute is not in its weights, so no result could be told from "
            "another's. Call `reset_hooks(including_permanent=True)` first."
        )
    _check(module, around=[part for part in (outermost, model) if part is not module], is_bridge=is_bridge)
    config = _config(module, getattr(model, "cfg", None))
    given = _copy(module)
    digest = fingerprint(module, config, _twin(given))
    # The same object may have other rules by now.
    own, named_bos = _backend(tokenizer), getattr(tokenizer, "bos_token_id", None)
    rules = "" if own is None else own.to_str()
    known = _adopted.get(model)
    if known is not None and known.rules == (rules, named_bos) and known.loaded.identity.weights_digest == digest:
        return known.loaded
    # A copy: lengths and padding are turned off, which must not happen to somebody else's.
    backend = Tokenizer.from_str(rules) if rules else None
    identity = _identity(module, config, digest, backend, named_bos)
    if getattr(module, "config", None) is not None:
        check_kind(module.config, identity.card.name)
    # Another twin: some families keep what they have become on a row that was short or long.
    loaded = wrap(_twin(given), identity, given)
    check_shown(loaded)
    _check_highest_id(loaded)
    _adopted[model] = _Adopted(loaded, (rules, named_bos))
    return loaded


def _check(module: nn.Module, around: list[nn.Module], *, is_bridge: bool) -> None:
    """around: what a bridge or a compiler has put around the whole, outermost first."""
    kinds = {type(part).__module__.split(".")[0] for part in module.modules()}
    if "peft" in kinds:
        raise BadInput(
            "This model still carries an adapter: give it as `merge_and_unload()` makes it, or without one that cannot be "
            "merged (prompts, prefixes)."
        )
    if not is_bridge and not hasattr(module, "set_attn_implementation"):
        raise BadInput(
            f"A {type(module).__name__} is not a causal model of the model library: give one (`AutoModelForCausalLM`), or a "
            "TransformerLens bridge."
        )
    attention = getattr(getattr(module, "config", None), "_attn_implementation", None)
    if attention not in (None, "eager") and not _is_harmless(ALL_ATTENTION_FUNCTIONS.get(attention)):
        raise BadInput(
            f"This model computes its attention by {attention!r}, which is not the model library's own, and can only be "
            'measured as `eager`: call `set_attn_implementation("eager")` first, if it is meant to be the same.'
        )
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        raise BadInput(
            "This model has parts whose weights are made in their first pass: let it make one before it is handed over."
        )
    devices = {tensor.device for tensor in module.parameters()}
    if len(devices) != 1 or next(iter(devices)).type == "meta":
        raise BadInput("This model's weights are on more than one device, or not in memory at all: load it on one.")
    if any(getattr(part, "_compiled_call_impl", None) is not None for part in module.modules()):
        raise BadInput("This model was compiled in place, so none of its parts can be watched: give it as it was before.")
    if torch.nn.modules.module._has_any_global_hook():
        raise BadInput(
            "There are hooks on every module of this process: no result could be told from another's. Remove them first."
        )
    for name, part in [*(("", part) for part in around), *module.named_modules()]:
        if not all(map(partial(_runs_its_own, part), _FORWARDS)):
            raise BadInput(
                f"The forward of {name or 'the whole'} was replaced, wrapped or compiled: what it computes is not in its "
                "weights, so no result can be told from another's. Give the model as it was before, or make the part a module "
                "of its own."
            )
        if part.training and not all(map(_is_harmless, (part.train, part.eval))):
            raise BadInput(
                f"This model is in training mode, and {name or 'the whole'} does something of its own when that ends, which "
                "may change its weights: call `model.eval()` first."
            )
        for hook in (*_own_hooks(part), *_hooks_of_libraries(part)):
            if not _is_harmless(hook):
                raise BadInput(
                    f"This model has a hook of its own on {name or 'the whole'}: what it computes is not in its weights, so no "
                    "result could be told from another's. Remove the hook first."
                )


@torch.no_grad()
def _check_highest_id(model: LoadedModel) -> None:
    """Raises ModelUnavailable for a table of ids that is shorter than the vocabulary: a trial need not come that far."""
    highest = model.card.d_vocab - 1
    tokens = trial_ids(model.card.d_vocab, 1).to(model.device)
    tokens[0, -1] = highest
    try:
        run_module(model.module, tokens)
    except IndexError as error:
        raise ModelUnavailable(
            f"{model.card.name} cannot be run on all of its {model.card.d_vocab} ids: for id {highest} it says {str(error)!r}."
        ) from error


# Where a forward of its own stands, and where `accelerate` keeps the one that it has put its own before.
_FORWARDS = ("forward", "_old_forward")


def _runs_its_own(part: nn.Module, name: str) -> bool:
    """Whether what stands there, if anything, runs the forward that the part's class has."""
    function = vars(part).get(name)
    own = getattr(function, "__func__", None) is type(part).forward and getattr(function, "__self__", None) is part
    return function is None or own or _inside(part) is not part or _is_harmless(function, _HARMLESS_FORWARDS)


def _inside(module: Any) -> Any:
    """The module itself; of a compiled one what is inside, which computes the same and shows its parts."""
    while _is_written_by(module, "torch._dynamo.") and isinstance(getattr(module, "_orig_mod", None), nn.Module):
        module = module._orig_mod
    return module


def _is_of_a_bridge(module: Any) -> bool:
    return _is_written_by(module, "transformer_lens.")


def _is_written_by(module: Any, library: str) -> bool:
    """By its class: somebody's own may have an attribute of the same name, and does more than what stands there."""
    return f"{type(module).__module__}.".startswith(library)


def _is_harmless(function: Any, libraries: tuple[str, ...] = _HARMLESS_HOOKS) -> bool:
    """Whether libraries wrote it, and all that it is wrapped around."""
    return all(f"{module}.".startswith(libraries) for module in written_in(function))


def _own_hooks(part: nn.Module) -> Iterator[Any]:
    """What changes a pass, or the gradients that estimates are made of."""
    for kept in (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks):
        yield from kept.values()


def _hooks_of_libraries(part: nn.Module) -> list[Any]:
    """Hooks that `accelerate` runs for whoever hung them on the part."""
    kept = getattr(part, "_hf_hook", None)
    return list(getattr(kept, "hooks", [] if kept is None else [kept]))


def _config(module: nn.Module, bridge_config: Any) -> dict[str, Any]:
    """The model library's config; for a module without one, what the bridge says of it under the same names."""
    own = getattr(module, "config", None)
    if own is not None and hasattr(own, "to_dict"):
        return {key: value for key, value in own.to_dict().items() if key not in ("_name_or_path", "transformers_version")}
    return {
        "model_type": str(getattr(bridge_config, "architecture", "") or type(module).__name__),
        "n_layers": bridge_config.n_layers,
        "n_heads": bridge_config.n_heads,
        "d_model": bridge_config.d_model,
        "head_dim": bridge_config.d_head,
        "vocab_size": bridge_config.d_vocab,
        "n_ctx": bridge_config.n_ctx,
        "num_key_value_heads": bridge_config.n_key_value_heads or bridge_config.n_heads,
    } | ({"rope_parameters": {}} if bridge_config.positional_embedding_type == "rotary" else {})


def _identity(
    module: nn.Module, config: dict[str, Any], digest: str, backend: Tokenizer | None, named_bos: int | None
) -> ModelIdentity:
    """named_bos: the tokenizer's, which comes before the config's."""
    whose, text = f"This {type(module).__name__}", text_config(config)
    known_bos = bos_of(named_bos, text.get("bos_token_id"), d_vocab := text.get("vocab_size", 0))
    facts = (
        TokenizerFacts(None, frozenset(), known_bos, prepends_bos=False)
        if backend is None
        else tokenizer_facts(backend, d_vocab, known_bos)
    )
    name = str(getattr(getattr(module, "config", None), "_name_or_path", "") or type(module).__name__).rstrip("/\\")
    name = re.split(r"[/\\]", name)[-1]
    about = CardTexts(f"{name} in memory", "memory", f"{name} in memory")
    n_params = sum(parameter.numel() for parameter in module.parameters())
    return identity_from(config, about, whose=whose, n_params=n_params, digest=digest, facts=facts)


def _twin(module: Any) -> nn.Module:
    """As `_copy`, with attention that shows its patterns."""
    twin: Any = _copy(module)
    if hasattr(twin, "set_attn_implementation"):
        twin.set_attn_implementation("eager")
        # Older families do not follow that call, but read their config at every pass; so does a part with a config of its own.
        for part in twin.modules():
            if hasattr(getattr(part, "config", None), "_attn_implementation"):
                part.config._attn_implementation = "eager"
    found: nn.Module = twin
    return found


@torch.inference_mode(False)
def _copy(module: Any) -> nn.Module:
    """A module of our own that shares the model's weights and nothing else: what a bridge put around its parts is gone."""
    shared: dict[int, Any] = {id(own): nn.Parameter(_usable(own), requires_grad=False) for own in module.parameters()}
    # What a part makes of its weights at every pass (a pruning mask) cannot be copied with its history.
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                shared[id(value)] = value.detach()
    try:
        twin: Any = copy.deepcopy(module, shared)
    except (RuntimeError, TypeError) as error:
        raise ModelUnavailable(f"This {type(module).__name__} cannot be measured beside itself: {error}.") from error
    # Not by `eval()`: what a part does of its own at that would be done to the weights that are shared.
    for part in twin.modules():
        part.training = False
    _unwrap(twin)
    found: nn.Module = twin
    return found


def _usable(weight: nn.Parameter) -> torch.Tensor:
    """The weight itself; of one that was made where no gradient ever will be a copy, for estimates are made of gradients."""
    return weight.detach().clone() if weight.is_inference() else weight.detach()


def _unwrap(module: nn.Module) -> None:
    """Put the model library's own parts back where a bridge or a compiler put its own around them."""
    for name, part in list(module.named_children()):
        part = _inside(part)
        while _is_of_a_bridge(part) and isinstance(getattr(part, "original_component", None), nn.Module):
            part = part.original_component
        module._modules[name] = part
        _unwrap(part)


def _backend(tokenizer: Any) -> Tokenizer | None:
    if tokenizer is None:
        return None
    backend = tokenizer if isinstance(tokenizer, Tokenizer) else getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise BadInput(
            f"A {type(tokenizer).__name__} has no fast form: give a fast tokenizer of the model library, or none at all."
        )
    return backend
