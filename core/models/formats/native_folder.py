"""The project's own format: a small model of the library's native kind, with its recipe and training checkpoints.

`headscope.json` {format, name, title, description, family, config, bos_token_id, special_ids, recipe, training},
`model.safetensors` with the native model's own parameter names, `tokenizer.json`, `checkpoints/step-XXXXXX.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable
from core.models.formats.digest import weights_digest
from core.models.formats.json_file import MOST_CONFIG_BYTES, read_object
from core.models.formats.tokenizer_files import read_tokenizer
from core.models.formats.weights_file import check_sizes, count_weights, weights_files
from core.models.paths import NATIVE_FILE, model_file, shown
from core.runtime.files import shown_name
from core.transformer.card import ModelCard, ModelIdentity, Source

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

FORMAT = 1
# Its causal mask is kept whole, tokens by tokens.
MOST_CONTEXT = 16_384
CHECKPOINTS = "checkpoints"
_SIZES = ("d_vocab", "n_layers", "n_heads", "d_model", "n_ctx")
_SIZES_IF_ANY = ("d_mlp", "d_head", "n_key_value_heads")
# Parts of the library's config that say nothing about what the model computes.
_NAMES_ONLY = ("model_name", "seed", "device", "dtype", "tokenizer_name")


def read_about(folder: Path) -> dict[str, Any]:
    """The contents of `headscope.json`.

    Raises ModelUnavailable if it is missing, broken, or of a format this version does not know.
    """
    path = model_file(folder, NATIVE_FILE)
    if path is None:
        raise ModelUnavailable(f"{shown(folder)} is not a model folder: a file {NATIVE_FILE} is missing.")
    about = read_object(path, MOST_CONFIG_BYTES)
    if not isinstance(about.get("config"), dict):
        raise ModelUnavailable(f"The file {NATIVE_FILE} of {shown(folder)} is broken: it holds no object config.")
    if about.get("format") != FORMAT:
        raise ModelUnavailable(
            f"{shown(folder)} is of format {_shortly(about.get('format'))}; this version of HeadScope reads format {FORMAT}."
        )
    wrong = next((said for said in _what_is_wrong(about) if said), "")
    if wrong:
        raise ModelUnavailable(f"The config in {NATIVE_FILE} of {shown(folder)} is incomplete: {wrong}.")
    return about


def _what_is_wrong(about: dict[str, Any]) -> Iterator[str]:
    """What each part of the file must be and is not; empty for one that is right."""
    config = about["config"]
    for name in _SIZES:
        yield "" if name in config else f"{name} is missing"
        yield "" if _is_whole(config.get(name), 1) else f"{name} must be a whole number from 1 up, not {_shortly(config[name])}"
    for name in _SIZES_IF_ANY:
        value = config.get(name)
        yield "" if value is None or _is_whole(value) else f"{name} must be a whole number, not {_shortly(value)}"
    bos, special = about.get("bos_token_id"), about.get("special_ids", [])
    yield "" if bos is None or _is_whole(bos) else f"bos_token_id must be an id, not {_shortly(bos)}"
    is_list = isinstance(special, list) and all(map(_is_whole, special))
    yield "" if is_list else f"special_ids must be a list of ids, not {_shortly(special)}"
    for name in ("title", "description", "family"):
        yield "" if isinstance(about.get(name, ""), str) else f"{name} must be text, not {_shortly(about[name])}"


def _is_whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _shortly(value: Any) -> str:
    return shown_name(repr(value))[:40]


def list_checkpoints(folder: Path) -> tuple[str, ...]:
    """The names of a model's training checkpoints, such as `step-000300`, earliest first."""
    return tuple(sorted(path.stem for path in (folder / CHECKPOINTS).glob("*.safetensors")))


def native_identity(folder: Path, name: str, source: Source, checkpoint: str | None = None) -> ModelIdentity:
    """Who a native model is, without torch.

    Raises ModelUnavailable if a file is missing or broken.
    """
    about = read_about(folder)
    config = about["config"]
    files = _weights(folder, checkpoint)
    try:
        d_vocab, bos = int(config["d_vocab"]), about.get("bos_token_id")
        sizes = {what: int(config[what]) for what in ("n_layers", "n_heads", "d_model")}
        others = {what: int(config[what]) for what in ("d_mlp", "d_head") if config.get(what)}
        check_sizes(files, shown(folder), d_vocab=d_vocab, **sizes, **others)
        if int(config["n_ctx"]) > MOST_CONTEXT:
            raise ModelUnavailable(
                f"{shown(folder)} states a context of more than {MOST_CONTEXT:,} tokens, which this format has not."
            )
        facts = read_tokenizer(folder, d_vocab, bos)
        card = ModelCard(
            name=name if checkpoint is None else f"{name}@{checkpoint}",
            family=about.get("family", "local"),
            n_layers=int(config["n_layers"]),
            n_heads=int(config["n_heads"]),
            d_model=int(config["d_model"]),
            d_head=int(config.get("d_head") or config["d_model"] // config["n_heads"]),
            d_vocab=d_vocab,
            n_ctx=int(config["n_ctx"]),
            n_params=count_weights(files),
            source=source,
            title=about.get("title", name),
            description=about.get("description", ""),
            n_key_value_heads=int(config.get("n_key_value_heads") or 0),
            positional="rotary" if config.get("positional_embedding_type") == "rotary" else "learned",
            has_mlp=not config.get("attn_only", False),
        )
        special = {i for i in about.get("special_ids", []) if 0 <= i < d_vocab}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelUnavailable(f"The config in {NATIVE_FILE} of {shown(folder)} is incomplete: {error}.") from error
    bos_ids = frozenset() if facts.bos_token_id is None else frozenset({facts.bos_token_id})
    return ModelIdentity(
        card=card,
        weights_digest=weights_digest({key: v for key, v in config.items() if key not in _NAMES_ONLY}, files),
        tokenizer=facts.tokenizer,
        bos_token_id=facts.bos_token_id,
        prepends_bos=facts.prepends_bos,
        special_ids=facts.special_ids | special | bos_ids,
    )


def read_native(
    folder: Path,
    device: str = "cpu",
    dtype: str = "float32",
    checkpoint: str | None = None,
    *,
    identity: ModelIdentity | None = None,
) -> LoadedModel:
    """Load a native model, or one of its training checkpoints, on `device` in number format `dtype`.

    Raises ModelUnavailable if a file is missing or broken, or the weights do not fit the config.
    """
    import torch
    from safetensors import safe_open
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native.model import NativeModel

    from core.models.formats.load_steps import in_steps
    from core.transformer.wrap import NATIVE, wrap

    identity = identity or native_identity(folder, folder.name, "local", checkpoint)
    with safe_open(_weights(folder, checkpoint)[0], framework="pt") as file:
        stored = file.keys()
        weights = {key: file.get_tensor(key) for key in in_steps(stored, len(stored), f"loading {identity.card.name}")}
    try:
        config = TransformerBridgeConfig(**read_about(folder)["config"] | {"architecture": NATIVE})
        # The layers draw random weights when they are made: they must not disturb anybody else's random numbers.
        with torch.random.fork_rng(devices=[]):
            module = NativeModel(config)
        if "head.bias" in weights:  # some old checkpoints have an unembedding bias; the native model has none by default
            module.head.bias = torch.nn.Parameter(torch.zeros(module.head.out_features))
        module.load_state_dict(weights, strict=True)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelUnavailable(f"The weights of {shown(folder)} do not fit its config: {reason}.") from error
    module = module.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)
    return wrap(module, identity)


def _weights(folder: Path, checkpoint: str | None) -> list[Path]:
    if checkpoint is None:
        return weights_files(folder)
    known = list_checkpoints(folder)
    if checkpoint not in known:
        raise ModelUnavailable(
            f"{shown(folder)} has no checkpoint {checkpoint!r}: "
            + (f"it has {known[0]} to {known[-1]} ({len(known)} of them)." if known else "it has none.")
        )
    path = model_file(folder, f"{CHECKPOINTS}/{checkpoint}.safetensors")
    if path is None:
        raise ModelUnavailable(f"The checkpoint {checkpoint} of {shown(folder)} is no file that can be read.")
    return [path]
