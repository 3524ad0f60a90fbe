"""A folder in the Hugging Face format: config.json and safetensors, with or without a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import HeadScopeError, ModelUnavailable
from core.models.formats import hf_config
from core.models.formats.config_trial import check_built_size
from core.models.formats.digest import weights_digest
from core.models.formats.packed import not_packed, not_unpacked, packing, without_scales
from core.models.formats.tokenizer_files import TokenizerFacts, read_tokenizer
from core.models.formats.unusable import check_usable
from core.models.formats.weights_file import BUFFERS, all_floating, check_sizes, count_weights, weights_files
from core.models.paths import shown
from core.numbers import counted
from core.transformer.card import ModelCard, ModelIdentity, Source

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel


def hf_identity(folder: Path, name: str, source: Source, *, title: str = "", description: str = "") -> ModelIdentity:
    """Who a model in the Hugging Face format is, without torch and without the model library.

    Raises ModelUnavailable if a file is missing or broken, an adapter lies beside it, or the model has no attention heads.
    """
    check_usable(folder)
    whole, files, whose = hf_config.read_config(folder), weights_files(folder), shown(folder)
    config = hf_config.text_config(whole)
    d_vocab, bos = hf_config.size(config, "d_vocab", whose), config.get("bos_token_id")
    n_layers, d_model = (hf_config.size(config, what, whose) for what in ("n_layers", "d_model"))
    n_heads = hf_config.most_heads(config, whose)
    check_sizes(files, whose, d_vocab=d_vocab, n_layers=n_layers, n_heads=n_heads, d_model=d_model)
    facts = read_tokenizer(folder, d_vocab, bos if isinstance(bos, int) and 0 <= bos < d_vocab else None)
    about = CardTexts(name, source, title or name, description)
    return identity_from(
        whole, about, whose=whose, n_params=count_weights(files), digest=weights_digest(whole, files), facts=facts
    )


@dataclass(frozen=True)
class CardTexts:
    """What a card says that no config does."""

    name: str
    source: Source
    title: str
    description: str = ""


def identity_from(
    whole: dict[str, Any], about: CardTexts, *, whose: str, n_params: int, digest: str, facts: TokenizerFacts
) -> ModelIdentity:
    """The identity that a config, weights that are counted and hashed, and a tokenizer make; `whose` is for the sentence.

    Raises ModelUnavailable if the model has no attention heads.
    """
    config = hf_config.text_config(whole)
    hf_config.check_one_text(whole, whose)
    n_heads, d_model = hf_config.most_heads(config, whose), hf_config.size(config, "d_model", whose)
    d_vocab = hf_config.size(config, "d_vocab", whose)
    card = ModelCard(
        name=about.name,
        family=str(whole.get("model_type", "local")),
        n_layers=hf_config.size(config, "n_layers", whose),
        n_heads=n_heads,
        d_model=d_model,
        d_head=hf_config.d_head(config, d_model, hf_config.size(config, "n_heads", whose)),
        d_vocab=d_vocab,
        n_ctx=hf_config.size(config, "n_ctx", whose),
        n_params=n_params,
        source=about.source,
        title=about.title,
        description=about.description,
        n_key_value_heads=hf_config.key_value_heads(config, n_heads),
        positional=hf_config.positional(config),
    )
    special = facts.special_ids | {i for i in hf_config.special_token_ids(config) if 0 <= i < d_vocab}
    bos_ids = frozenset() if facts.bos_token_id is None else frozenset({facts.bos_token_id})
    return ModelIdentity(
        card=card,
        weights_digest=digest,
        tokenizer=facts.tokenizer,
        bos_token_id=facts.bos_token_id,
        prepends_bos=facts.prepends_bos,
        special_ids=special | bos_ids,
    )


def read_hf(folder: Path, identity: ModelIdentity, device: str = "cpu", dtype: str = "float32") -> LoadedModel:
    """Load a model in the Hugging Face format, on `device` in number format `dtype`, with eager attention.

    Never runs code that came with the weights, never reads a pickle, never looks at the network.

    Raises ModelUnavailable if the kind of model is not supported or the weights do not fit the config, JobCancelled between
    two of its steps if nobody wants it any more.
    """
    import torch

    from core.transformer.wrap import wrap

    name = identity.card.name
    check_built_size(folder, hf_config.read_config(folder), weights_files(folder), identity.card.n_layers)
    model = _pretrained(folder, supported_config(folder), name, getattr(torch, dtype)).to(device).eval().requires_grad_(False)
    return wrap(model, identity)


def supported_config(folder: Path) -> Any:
    """The model library's config of a folder.

    Raises ModelUnavailable if it knows no causal language model of this kind, or the model needs its own code.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]

    raw = hf_config.read_config(folder)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a config is anybody's, and the library's checks raise kinds of their own
        if raw.get("auto_map"):
            raise _needs_code(shown(folder)) from error
        if not isinstance(error, OSError) and str(raw.get("model_type")) in CONFIG_MAPPING_NAMES:
            # As text a KeyError is its words in quotation marks.
            said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            reason = (" ".join(said.split()) or type(error).__name__)[:200]
            raise ModelUnavailable(
                f"The config.json of {shown(folder)} is no valid one of its kind ({raw['model_type']}): {reason.rstrip('.')}. "
                "Mend that field, or get the file again."
            ) from error
        raise unsupported(shown(folder), raw.get("model_type", "unknown")) from error
    check_kind(config, shown(folder))
    _check_own_code(raw, shown(folder))
    if isinstance(getattr(config, "text_config", None), dict):  # a kind that has one makes it a config of its own
        raise ModelUnavailable(
            f"The config.json of {shown(folder)} has a `text_config`, which a model of type {config.model_type!r} does not "
            "have: put its settings beside the others, or take it out."
        )
    hf_config.size(hf_config.text_config(raw), "n_heads", shown(folder))
    return config


def _needs_code(whose: str) -> ModelUnavailable:
    return ModelUnavailable(f"{whose} needs code that comes with its weights (trust_remote_code), which HeadScope never runs.")


def _check_own_code(raw: dict[str, Any], whose: str) -> None:
    """Raises ModelUnavailable where a folder names a class of its own beside a kind that the model library knows.

    The library would take its own class for that kind, which computes something else.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    brought, named = raw.get("auto_map"), raw.get("architectures")
    if not isinstance(brought, dict):
        return
    classes = {name: place.rpartition(".")[2] for name, place in brought.items() if isinstance(place, str)}
    own = {name for name in (named if isinstance(named, list) else []) if name in classes.values()}
    own |= {classes["AutoModelForCausalLM"]} if "AutoModelForCausalLM" in classes else set()
    if own - set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise _needs_code(whose)


def check_kind(config: Any, whose: str) -> None:
    """Raises ModelUnavailable if the model library builds no causal language model from `config`."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if getattr(config, "is_encoder_decoder", False):
        raise hf_config.encoder_with_decoder(whose, config.model_type)
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise unsupported(whose, config.model_type)


def unsupported(whose: str, kind: str) -> ModelUnavailable:
    """The sentence for a kind of model that cannot be measured."""
    return ModelUnavailable(f"{whose} is of type {kind!r}, which is not a causal language model that HeadScope can measure.")


def _pretrained(folder: Path, config: Any, name: str, dtype: Any) -> Any:
    """The model library's model from local safetensors; weights that are missing or left over are an error."""
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    from core.models.formats.load_steps import library_steps

    method = packing(hf_config.read_config(folder))
    # A config that names another would win over what is asked for below.
    config._attn_implementation = "eager"
    try:
        with library_steps(f"loading {name}"):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(folder),
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="eager",
                dtype=dtype,
                output_loading_info=True,
                # Said below, with sizes; the library says only that it has said so elsewhere.
                ignore_mismatched_sizes=True,
                # Nothing is generated: a file of the folder that says how to is not read.
                generation_config=GenerationConfig(),
            )
    except HeadScopeError:
        raise
    except Exception as error:  # the library raises many kinds for one thing: files it cannot use
        if method and all_floating(weights_files(folder)):
            raise not_packed(method, name) from error
        if method:
            raise not_unpacked(method, name, installed=not isinstance(error, ImportError)) from error
        if isinstance(error, KeyError) and json.dumps(str(error.args[0])) in json.dumps(hf_config.read_config(folder)):
            raise ModelUnavailable(
                f"{name} could not be loaded: its config.json says {error.args[0]!r} where the model library knows no such "
                "thing. Mend that field, or get the file again."
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelUnavailable(f"{name} could not be loaded: {reason.rstrip('.')}.") from error
    model, report = loaded
    unlike = any(report.get(f"{kind}_keys") for kind in ("missing", "mismatched", "unexpected"))
    if unlike and method and not any(known.startswith(method) for known in AUTO_QUANTIZER_MAPPING):
        # The library leaves alone what is packed in a way that it does not know.
        raise not_unpacked(method, name, known=False)
    missing = sorted(report.get("missing_keys", ()))
    unknown = sorted(report.get("unexpected_keys", ()))
    wrapped = [tensor for tensor in missing if any(other.endswith(f".{tensor}") for other in unknown)]
    if wrapped:
        raise ModelUnavailable(
            f"The weights of {name} have other names than its kind has, {counted(len(wrapped), 'tensor')} of them: "
            f"{unknown[0]} is there, {wrapped[0]} is not. Save the model as its library does, without what wraps it."
        )
    if missing:
        instead = f" The file has {unknown[0]}, which its kind has not." if unknown else ""
        raise ModelUnavailable(
            f"The weights of {name} are incomplete: {_so_many(missing, 'missing')}, the first is {missing[0]}.{instead}"
        )
    others = sorted(report.get("mismatched_keys", ()))
    if others:
        which, in_file, by_config = others[0]
        raise ModelUnavailable(
            f"The config.json of {name} does not fit its weights: {counted(len(others), 'tensor')} of other sizes, the first "
            f"is {which}, {_by(in_file)} in the file and {_by(by_config)} by the config. Get the config that belongs to it."
        )
    still_packed = (
        name for name, weight in model.named_parameters() if weight.is_floating_point() and weight.element_size() == 1
    )
    if (first := next(still_packed, None)) is not None:
        raise without_scales(first, name)
    left_over = [tensor for tensor in unknown if not BUFFERS.search(tensor)]
    if left_over:
        raise ModelUnavailable(
            f"The config.json of {name} does not fit its weights: {_so_many(left_over, 'left over')}, the first is "
            f"{left_over[0]}. Less than the file holds would be measured: get the config that belongs to it, or save the model "
            "without what was added to it."
        )
    return model


def _so_many(tensors: Sequence[str], what: str) -> str:
    return f"{counted(len(tensors), 'tensor')} {'is' if len(tensors) == 1 else 'are'} {what}"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
