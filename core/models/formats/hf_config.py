"""A Hugging Face `config.json` read without the model library: sizes under each family's own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.models.formats.json_file import MOST_CONFIG_BYTES, read_object
from core.models.formats.packed import check_packing
from core.models.paths import HF_FILE, model_file, shown

# Some families have more heads in some of their layers: one number for those, or one for each layer.
_HEADS_OF_SOME = ("swa_num_attention_heads", "num_attention_heads_per_layer")
# A decoder that was cut out of an encoder with a decoder states the encoder's sizes, too: its own come first.
_DECODERS = {"n_layers": "decoder_layers", "n_heads": "decoder_attention_heads"}
CONTEXTS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    # Of a decoder that was cut out of what reads sound.
    "max_target_positions",
    "model_max_length",
)
_NAMES = {
    "n_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "n_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads"),
    "d_model": ("hidden_size", "n_embd", "d_model", "emb_dim", "dim"),
    "d_vocab": ("vocab_size",),
    "n_ctx": CONTEXTS,
}
# Hybrids may state what each layer is instead of how many there are.
_LAYER_KINDS = ("layers_block_type", "hybrid_override_pattern", "layer_types")
# Other hybrids state which layers have heads.
_WHICH_ATTEND = ("attn_layer_period", "attn_layer_indices")
# Keys at which the model library loads something else than the files whose digest is taken.
_REDIRECTS = {"transformers_weights", "configuration_files"}
_TEXT = "text_config"
# The library makes a name for each when it reads a config, in time that grows with them.
MOST_LABELS = 100_000
_ROTARY = ("gpt_neox", "gptj", "codegen", "falcon", "persimmon", "stablelm")
# Whose positions begin after the padding's id, so that as many fewer can be had.
_AFTER_PADDING = ("roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "data2vec-text", "roberta-prelayernorm", "xmod")
# Far beyond any head's; what a config says beyond it is no width.
MOST_HEAD_WIDTH = 65_536
DEFAULT_CONTEXT = 2048  # BLOOM and other ALiBi models state none; this is what they were trained with


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder.

    Raises ModelUnavailable if it is missing or broken.
    """
    path = model_file(folder, HF_FILE)
    if path is None:
        raise ModelUnavailable(f"{shown(folder)} is not a model folder: a file {HF_FILE} is missing.")
    config = read_object(path, MOST_CONFIG_BYTES)
    redirected = sorted(_REDIRECTS & config.keys())
    if redirected:
        raise ModelUnavailable(
            f"The file {HF_FILE} of {shown(folder)} says with {redirected[0]!r} that other files than its own are to be "
            "loaded, which HeadScope never does: take that line out."
        )
    if isinstance(labels := config.get("num_labels", 0), int) and labels > MOST_LABELS:
        raise ModelUnavailable(f"The {HF_FILE} of {shown(folder)} states {labels:,} labels, which no language model has.")
    if not isinstance(config.get(_TEXT), dict | None):
        raise ModelUnavailable(
            f"The {HF_FILE} of {shown(folder)} has a `{_TEXT}` that is no object: it holds the settings of the language model "
            "where that is part of a larger one; elsewhere take it out."
        )
    check_packing(config, shown(folder))
    return config


def check_one_text(config: dict[str, Any], whose: str) -> dict[str, Any]:
    """The config; raises ModelUnavailable for an encoder with a decoder, whose heads look at two texts."""
    if config.get("is_encoder_decoder") is True:
        raise encoder_with_decoder(whose, str(config.get("model_type", "unknown")))
    return config


def encoder_with_decoder(whose: str, kind: str) -> ModelUnavailable:
    """The sentence for a model that reads one text and writes another."""
    return ModelUnavailable(
        f"{whose} is of type {kind!r}, an encoder with a decoder: HeadScope measures models that read one text from left to "
        "right."
    )


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The language model's part of a config, where it is nested in a larger one."""
    inner = config.get(_TEXT)
    if not isinstance(inner, dict):
        return config
    whole = config | inner
    stated = all(any(name in whole for name in names) for names in _NAMES.values())
    return whole if stated else _library_defaults(config) | whole


def _library_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """What the model library takes for what a part of a larger model leaves out; nothing for a kind that it does not know."""
    from transformers import AutoConfig

    try:
        made = AutoConfig.for_model(config["model_type"], **{_TEXT: dict(config[_TEXT])}).get_text_config()
        return dict(made.to_dict())
    except Exception:  # anybody's config; what is wrong with it is said where it is read
        return {}


def size(config: dict[str, Any], what: str, whose: str) -> int:
    """One size, such as `n_layers`, under whatever name the family gives it; `whose` is for the sentence.

    Raises ModelUnavailable if the config does not state it, as for a model without attention heads.
    """
    for name in (_DECODERS.get(what, ""), *_NAMES[what]):
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return max(1, value - _before_the_first(config)) if what == "n_ctx" else value
    if what == "n_ctx":
        return DEFAULT_CONTEXT
    kinds = next((config[name] for name in _LAYER_KINDS if isinstance(config.get(name), (list, str))), "")
    if what == "n_layers" and kinds:
        return len(kinds)
    kind = config.get("model_type", "unknown")
    for name in _NAMES[what]:
        if config.get(name) is not None:
            value = str(config[name])[:40]
            raise ModelUnavailable(
                f"{whose} (of type {kind}) states {name} as {value!r} in its {HF_FILE}, which is no whole number above 0."
            )
    raise ModelUnavailable(
        f"{whose} (of type {kind}) does not state {_NAMES[what][0]} in its {HF_FILE}: "
        "HeadScope measures causal transformers with attention heads."
    )


def _before_the_first(config: dict[str, Any]) -> int:
    """How many positions there are before a text's first token."""
    padding = config.get("pad_token_id", 1)
    return padding + 1 if config.get("model_type") in _AFTER_PADDING and isinstance(padding, int) else 0


def most_heads(config: dict[str, Any], whose: str) -> int:
    """How many heads the layer with most of them has. Raises ModelUnavailable as `size`."""
    found = size(config, "n_heads", whose)
    for name in _HEADS_OF_SOME:
        value = config.get(name)
        for count in value if isinstance(value, list) else [value]:
            if isinstance(count, int) and not isinstance(count, bool):
                found = max(found, count)
    return found


def heads_differ(config: dict[str, Any], whose: str) -> bool:
    """Whether a config says that not every layer has the same heads: some have more, or none. Not every family says so.

    Raises ModelUnavailable as `size`.
    """
    usual, stated = size(config, "n_heads", whose), [config.get(name) for name in _HEADS_OF_SOME]
    counts = [count for value in stated for count in (value if isinstance(value, list) else [value])]
    kinds = [config[name] for name in (*_LAYER_KINDS, "block_types") if isinstance(config.get(name), list | str)]
    return (
        any(count not in (None, usual) for count in counts)
        or any(not _attends(str(kind)) for each in kinds for kind in each)
        or any(config.get(name) is not None for name in _WHICH_ATTEND)
    )


def _attends(kind: str) -> bool:
    """Whether a layer of that kind has heads that attend. A hybrid one has them beside something else."""
    return "hybrid" in kind or ("attention" in kind and "linear" not in kind)


def d_head(config: dict[str, Any], d_model: int, n_heads: int) -> int:
    """The width of what one head writes from: of its values, where they have a width of their own."""
    for name in ("v_head_dim", "head_dim", "attention_head_dim", "d_kv"):
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_HEAD_WIDTH:
            return value
    return d_model // n_heads


def key_value_heads(config: dict[str, Any], n_heads: int) -> int:
    """How many key-value heads the query heads share."""
    if config.get("model_type") == "falcon":
        if config.get("new_decoder_architecture"):
            return int(config.get("num_kv_heads") or n_heads)
        return 1 if config.get("multi_query", True) else n_heads
    if config.get("model_type") == "gpt_bigcode":
        return 1 if config.get("multi_query", True) else n_heads
    value = config.get("num_key_value_heads") or config.get("num_kv_heads") or _attn_config(config).get("kv_n_heads")
    return value if isinstance(value, int) else n_heads


def positional(config: dict[str, Any]) -> str:
    """`rotary`, `alibi` or `learned`."""
    kind = config.get("model_type", "")
    if kind == "bloom" or config.get("alibi") is True or _attn_config(config).get("alibi", kind == "mpt") is True:
        return "alibi"
    if kind in _ROTARY or any(key in config for key in ("rope_theta", "rope_parameters", "rotary_dim", "rotary_pct")):
        return "rotary"
    return "learned"


def _attn_config(config: dict[str, Any]) -> dict[str, Any]:
    """MPT's nested attention settings; empty for every other family."""
    nested = config.get("attn_config")
    return nested if isinstance(nested, dict) else {}


def special_token_ids(config: dict[str, Any]) -> set[int]:
    """The config's own BOS, EOS and padding ids (EOS may be several)."""
    ids: set[int] = set()
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = config.get(key)
        ids |= {i for i in (value if isinstance(value, list) else [value]) if isinstance(i, int)}
    return ids
