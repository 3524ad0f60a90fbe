"""A hub model brought into the model folder: only safe files, whole, checked, and readable without a network."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

from core.errors import ModelUnavailable
from core.models.fetching.hub import Repository, check_disk, check_reachable, fetch, read_json, repository
from core.models.formats.hf_folder import hf_identity, supported_config
from core.models.formats.legacy import convert_legacy, is_legacy, native_config
from core.models.formats.native_folder import native_identity
from core.models.formats.pickles import convert_pickles
from core.models.formats.tokenizer_files import TOKENIZER_FILE
from core.models.paths import HF_FILE, folder_name, models_root, staging_folder
from core.runtime.jobs import current_control
from core.transformer.memory import gigabytes

TOKENIZER_FILES = (
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_PICKLE = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
_INDEX = "model.safetensors.index.json"


def add_hub_model(repo_id: str, name: str) -> Path:
    """Fetch a repository, convert what must be converted, check it, and move it into place.

    Args:
        repo_id: the hub's name, `owner/model`.
        name: the catalogue's name, which decides the folder.

    Returns the model's folder.

    Raises ModelUnavailable with one sentence for whatever stands in the way.
    """
    current_control().progress(0.0, f"asking the hub for {repo_id}")
    check_reachable()
    repo = repository(repo_id)
    staging = staging_folder(name) / repo.commit / folder_name(name)
    staging.mkdir(parents=True, exist_ok=True)
    if HF_FILE not in repo.sizes:
        raise ModelUnavailable(f"{repo_id} holds no {HF_FILE}, so it is not a model that can be loaded.")
    config = read_json(fetch(repo, HF_FILE, staging))
    if is_legacy(config):
        built = _legacy(repo, staging)
        native_identity(built, name, "hub")
    else:
        built = _hugging_face(repo, staging)
        hf_identity(built, name, "hub")
    target = models_root() / folder_name(name)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(built, target)
    shutil.rmtree(staging_folder(name), ignore_errors=True)
    current_control().progress(1.0, f"{name} is ready in {target}")
    return target


def _hugging_face(repo: Repository, staging: Path) -> Path:
    """Fetch a repository in the Hugging Face format; the config says first whether the rest is worth fetching."""
    supported_config(staging)
    weights = _weights(repo)
    _fetch_all(repo, [name for name in TOKENIZER_FILES if name in repo.sizes] + weights, staging)
    if not weights[0].endswith((".safetensors", ".json")):
        convert_pickles(staging)
    if not (staging / TOKENIZER_FILE).is_file():
        convert_tokenizer(staging)
    return staging


def _legacy(repo: Repository, staging: Path) -> Path:
    """Fetch a TransformerLens-format repository and its tokenizer's, and convert them to the native format."""
    config = read_json(staging / HF_FILE)
    native_config(repo.repo_id, config)  # says at once what the native model does not have
    finals = sorted(name for name in repo.sizes if name.endswith("final.pth"))
    if not finals:
        raise ModelUnavailable(f"{repo.repo_id} holds no final weights (a file ending in final.pth).")
    built = staging / "native" / staging.name
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir(parents=True)
    _fetch_all(repo, finals[:1], staging)
    tokenizer_repo = config.get("tokenizer_name")
    if tokenizer_repo:
        tokens = staging / "tokenizer"
        tokens.mkdir(exist_ok=True)
        held = repository(tokenizer_repo)
        _fetch_all(held, [name for name in TOKENIZER_FILES if name in held.sizes], tokens)
        if not (tokens / TOKENIZER_FILE).is_file():
            convert_tokenizer(tokens)
        for path in tokens.iterdir():
            if path.name in (TOKENIZER_FILE, "tokenizer_config.json"):
                shutil.copyfile(path, built / path.name)
    current_control().progress(0.9, "converting the weights to safetensors: seconds")
    convert_legacy(repo.repo_id, config, staging / finals[0], built)
    return built


def _weights(repo: Repository) -> list[str]:
    """The weights files to fetch: safetensors if there are any, else a pickle that is converted without running it."""
    names = repo.sizes
    if "model.safetensors" in names:
        return ["model.safetensors"]
    shards = sorted(name for name in names if _SHARD.fullmatch(name))
    if shards and _INDEX in names:
        return [_INDEX, *shards]
    pickles = sorted(name for name in names if _PICKLE.fullmatch(name))
    if not pickles:
        raise ModelUnavailable(f"{repo.repo_id} holds no weights in a form that can be loaded (model.safetensors).")
    return ["pytorch_model.bin"] if "pytorch_model.bin" in pickles else pickles


def _fetch_all(repo: Repository, names: list[str], folder: Path) -> None:
    """Fetch files, telling what is fetched and how much is left."""
    control = current_control()
    total = sum(repo.sizes[name] for name in names)
    check_disk(folder, sum(repo.sizes[name] for name in names if not (folder / name).is_file()), repo.repo_id)
    before = 0
    for name in names:

        def report(done: int, before: int = before, name: str = name) -> None:
            share = (before + done) / total if total else 1.0
            so_far = f"fetching {name}: {gigabytes(before + done)} of {gigabytes(total)}"
            control.progress(0.02 + 0.86 * min(share, 1.0), so_far)

        report(0)
        fetch(repo, name, folder, report)
        before += repo.sizes[name]


def convert_tokenizer(folder: Path) -> None:
    """Make `tokenizer.json` from an older tokenizer's files; a folder without any tokenizer is left as it is."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES[4:]):
        return
    from transformers import AutoTokenizer

    # Whatever the old files lack, the model still works: ids then stand for token names.
    with contextlib.suppress(Exception):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer.save(str(folder / TOKENIZER_FILE))
