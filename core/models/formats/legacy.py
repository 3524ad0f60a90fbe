"""Repositories in TransformerLens's own older format (SoLU, attention-only, GELU toys), converted to the native one.

They hold a config.json without `model_type` and `*final.pth`, in the parameter names of TransformerLens, and for the
oldest SoLU models ('_old') with left-facing weights. The library converts them itself, but asks the hub for the
repository's listing each time; here the files are on disk, and the result is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable
from core.models.formats.native_folder import FORMAT
from core.models.formats.pickles import read_pickle
from core.models.paths import NATIVE_FILE

if TYPE_CHECKING:
    import torch

# The library's bridge names beside the native model's own.
_RENAMES = (
    ("embed.", "tok_embed."),
    ("pos_embed.", "pos."),
    ("blocks.", "layers."),
    ("ln_final.", "ln_out."),
    ("unembed.", "head."),
)
_CONFIG_KEYS = ("d_model", "n_layers", "d_mlp", "d_head", "n_heads", "n_ctx", "d_vocab", "act_fn", "attn_only")


def is_legacy(config: dict[str, Any]) -> bool:
    """Whether a repository's config.json is of TransformerLens's older format."""
    return "model_type" not in config and {"d_model", "n_layers", "n_heads"} <= config.keys()


def convert_legacy(repo_id: str, config: dict[str, Any], weights: Path, folder: Path) -> None:
    """Write `model.safetensors` and `headscope.json` into `folder`.

    Args:
        repo_id: whose name tells the oldest layout ('_old') from the newer one.
        config: the repository's config.json.
        weights: its `*final.pth`.
        folder: an existing folder.

    Raises ModelUnavailable for what the native model does not have, and for weights that do not fit the config.
    """
    import torch
    from safetensors.torch import save_file
    from transformer_lens.config import TransformerBridgeConfig

    kwargs = native_config(repo_id, config)
    state = {name: tensor.to(torch.float32) for name, tensor in read_pickle(weights).items()}
    try:
        native = native_weights(state, TransformerBridgeConfig(**kwargs), left_facing=_is_left_facing(repo_id, config))
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise ModelUnavailable(f"The weights of {repo_id} do not fit its config: {error}.") from error
    save_file({name: tensor.contiguous() for name, tensor in native.items()}, folder / "model.safetensors")
    about = {
        "format": FORMAT,
        "name": repo_id,
        "title": repo_id.rsplit("/", 1)[-1],
        "description": "",
        "family": _family(config),
        "config": kwargs,
        "bos_token_id": None,
        "special_ids": [],
    }
    (folder / NATIVE_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def native_config(repo_id: str, config: dict[str, Any]) -> dict[str, Any]:
    """The library's config for a repository's config.json, as the library itself derives it.

    Raises ModelUnavailable for shortformer position embeddings, which the native model does not have.
    """
    if config.get("shortformer_pos") or config.get("positional_embedding_type") == "shortformer":
        raise ModelUnavailable(f"{repo_id} uses shortformer position embeddings, which TransformerLens no longer has.")
    missing = [key for key in _CONFIG_KEYS if key not in config]
    if missing:
        raise ModelUnavailable(f"The config.json of {repo_id} does not state {', '.join(missing)}.")
    return {key: config[key] for key in _CONFIG_KEYS} | {
        "final_rms": config.get("final_rms", False),
        "normalization_type": config.get("normalization", config.get("normalization_type")),
        "positional_embedding_type": "standard",
        "architecture": "TransformerLensNative",
    }


def native_weights(state: dict[str, torch.Tensor], config: Any, *, left_facing: bool) -> dict[str, torch.Tensor]:
    """A TransformerLens state dict under the native model's names and layouts."""
    from transformer_lens.model_bridge.sources.tl_legacy import _convert_neel_solu_old_weights
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    if left_facing:
        state = _convert_neel_solu_old_weights(state, config)
    return {_native_name(name): tensor for name, tensor in convert_tl_checkpoint(state, config).items()}


def _native_name(name: str) -> str:
    for old, new in _RENAMES:
        if name.startswith(old):
            name = new + name.removeprefix(old)
            break
    return name.replace(".mlp.in.", ".mlp.fc_in.").replace(".mlp.out.", ".mlp.fc_out.")


def _is_left_facing(repo_id: str, config: dict[str, Any]) -> bool:
    return bool(config.get("architecture", "neel-solu-old" if "_old" in repo_id else "neel") == "neel-solu-old")


def _family(config: dict[str, Any]) -> str:
    if config.get("attn_only"):
        return "attn-only"
    return "solu" if str(config.get("act_fn", "")).startswith("solu") else str(config.get("act_fn", "legacy"))
