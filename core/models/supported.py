"""The hub models that TransformerLens lists, from its own data files: read as JSON, because importing it takes seconds.

Its list of fifteen thousand models is 6 MB. Those that are shown without a search travel with the project as a small list,
which `make model-list` writes again after the pinned library changed: the first screen waits for it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

VERIFIED, FAILED = 1, 3
# Not causal attention in every layer, or code of their own that comes with the weights: nothing to measure, or never run.
_LEFT_OUT = re.compile(
    r"Mamba|RWKV|Rwkv|Hyena|Hybrid|Bamba|Jamba|Zamba|NemotronH|FalconH1|Qwen3Next|Qwen3_5|Lfm2|Recurrent|Bert|HrmText"
    r"|^Bai[Cc]huan|^ExaoneFor|^InternLM2|^OpenELM|^Ouro|^PhiMoE|^QwenFor|^Raven"
)
_CAUSAL = ("ForCausalLM", "LMHeadModel")
# Repositories whose position embeddings (shortformer) or layout the library's native model does not have.
_UNSUPPORTED_REPOS = ("Shortformer", "redwood_attn", "Othello")
_LISTED = Path(__file__).with_name("listed_models.json")
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([mMbB])(?![A-Za-z0-9])")


@dataclass(frozen=True)
class SupportedModel:
    """A hub repository, the kind of model it holds, and whether the library's authors checked it."""

    repo_id: str
    architecture: str
    verified: bool


def _data(name: str) -> Any:
    spec = find_spec("transformer_lens")
    if spec is None or not spec.submodule_search_locations:
        return {}
    path = Path(spec.submodule_search_locations[0]) / "tools" / "model_registry" / "data" / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=1)
def aliases() -> dict[str, str]:
    """The library's short names, each with the repository it means."""
    table = _data("model_aliases.json").get("aliases", {})
    return {
        alias: repo_id
        for repo_id, names in table.items()
        for alias in names
        if not any(part in repo_id for part in _UNSUPPORTED_REPOS)
    }


@lru_cache(maxsize=1)
def listed_models() -> dict[str, str]:
    """The repositories that are shown without a search, each with its architecture: `models_to_list` as it travels."""
    listed: dict[str, str] = json.loads(_LISTED.read_text(encoding="utf-8"))
    return listed


def models_to_list() -> dict[str, str]:
    """The repositories that the library's authors verified, and those with a short name, from the library's own list."""
    short = set(aliases().values())
    return {model.repo_id: model.architecture for model in supported_models() if model.verified or model.repo_id in short}


@lru_cache(maxsize=1)
def supported_models() -> tuple[SupportedModel, ...]:
    """Every causal model that the library lists and has not seen fail, verified ones first."""
    rows = [
        SupportedModel(row["model_id"], row["architecture_id"], row["status"] == VERIFIED)
        for row in _data("supported_models.json").get("models", [])
        if row["status"] != FAILED and row["architecture_id"].endswith(_CAUSAL) and not _LEFT_OUT.search(row["architecture_id"])
    ]
    unique = {row.repo_id: row for row in reversed(rows)}
    return tuple(sorted(unique.values(), key=lambda row: (not row.verified, row.architecture, row.repo_id.lower())))


def stated_size(repo_id: str) -> int | None:
    """The number of weights that a repository's name states, such as 7e9 for `llama-7b`; None if it states none."""
    found = _SIZE.search(repo_id.rsplit("/", 1)[-1].replace("_", "-"))
    if found is None:
        return None
    experts, number, unit = found.groups()
    return int(int(experts or 1) * float(number) * (1e9 if unit in "bB" else 1e6))


if __name__ == "__main__":
    _LISTED.write_text(json.dumps(models_to_list(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
