"""Names to models: the catalogue, folders, identities, memory, and the sentence for each way it can fail."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge.sources.native.model import NativeModel
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from core.errors import BadInput, ModelUnavailable
from core.models import load as load_module
from core.models import supported
from core.models.built_in.word_tokenizer import build_tokenizer, word_list
from core.models.catalogue import catalogue, find_entry
from core.models.fetching.add import add_model
from core.models.formats.digest import REMEMBERED
from core.models.formats.native_folder import list_checkpoints, read_native
from core.models.identity import model_identity
from core.models.load import load_model, loaded_names
from core.transformer import memory
from core.transformer.anatomy import run_module
from core.transformer.passes.hooks import pattern_hook, run_body

VOCAB = 24
CONFIG: dict[str, Any] = dict(d_model=8, d_head=4, n_layers=2, n_heads=2, n_ctx=16, d_vocab=VOCAB, attn_only=True)
CONFIG |= dict(normalization_type="LN", positional_embedding_type="rotary", act_fn="relu")


pytestmark = pytest.mark.usefixtures("root")


def write_native(folder: Path, seed: int = 0, tokenizer: bool = True) -> NativeModel:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = NativeModel(TransformerBridgeConfig(**CONFIG, architecture="TransformerLensNative")).eval()
    save_file(dict(model.named_parameters()), folder / "model.safetensors")
    about = {"format": 1, "name": "x", "title": "A title", "description": "", "family": "tests", "config": CONFIG}
    (folder / "headscope.json").write_text(json.dumps(about | {"bos_token_id": 0, "special_ids": [0, 1]}))
    if tokenizer:
        build_tokenizer(word_list()[: VOCAB - 2]).save(str(folder / "tokenizer.json"))
    return model


def write_llama(folder: Path, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes: dict[str, Any] = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
    sizes |= dict(num_key_value_heads=2, vocab_size=VOCAB, max_position_embeddings=32, bos_token_id=3, eos_token_id=[4, 5])
    model = LlamaForCausalLM(LlamaConfig(**sizes | changes)).eval()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return model


def tokens(rows: int = 2, length: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, VOCAB, (rows, length)))


# Identities


def test_an_identity_needs_neither_torch_nor_the_model_library(root: Path) -> None:
    write_native(root / "small")
    write_llama(root / "llama")
    code = """
import sys
from core.models.catalogue import catalogue
from core.models.identity import model_identity
catalogue(), catalogue("gpt")
for name in ("small", "llama", "by-construction"):
    print(model_identity(name).card.n_heads, len(model_identity(name).weights_digest))
assert not {"torch", "transformers", "transformer_lens"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["2 64", "4 64", f"{model_identity('by-construction').card.n_heads} 64"]


def test_a_digest_follows_the_weights_and_config_and_not_the_name(root: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_native(root / name, seed)
    a, b, c = (model_identity(name).weights_digest for name in "abc")
    assert a == b != c
    about = json.loads((root / "b/headscope.json").read_text())
    (root / "b/headscope.json").write_text(json.dumps(about | {"title": "Another title"}))
    assert model_identity("b").weights_digest == a and model_identity("b").card.title == "Another title"
    about["config"]["rotary_base"] = 500
    (root / "b/headscope.json").write_text(json.dumps(about))
    assert model_identity("b").weights_digest != a


def test_a_large_file_is_hashed_once_and_again_when_it_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.models.formats.digest.REMEMBERED_FROM_BYTES", 1)
    monkeypatch.setenv("HEADSCOPE_STORE", str(root.parent / "results"))
    write_native(root / "a")
    first = model_identity("a").weights_digest
    weights_size = str((root / "a/model.safetensors").stat().st_size)
    note = next(path for path in (root.parent / "results" / REMEMBERED).iterdir() if weights_size in path.read_text())
    assert json.loads(note.read_text())["size"] == (root / "a/model.safetensors").stat().st_size
    code = (
        "from core.models.formats import digest; digest.REMEMBERED_FROM_BYTES = 1; import hashlib; hashlib.file_digest = None\n"
    )
    code += "from core.models.identity import model_identity; print(model_identity('a').weights_digest)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == first, done.stderr
    before = (root / "a/model.safetensors").stat()
    write_native(root / "a", seed=5)
    # As a copy does that keeps the time of what it is a copy of.
    os.utime(root / "a/model.safetensors", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (root / "a/model.safetensors").stat().st_size == before.st_size
    other = model_identity("a").weights_digest
    assert other != first
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout.strip() == other


def test_no_folder_says_what_its_weights_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write a folder could else put its numbers in the place of another's."""
    monkeypatch.setattr("core.models.formats.digest.REMEMBERED_FROM_BYTES", 1)
    monkeypatch.setenv("HEADSCOPE_STORE", str(root.parent / "results"))
    write_native(root / "victim")
    write_native(root / "evil", seed=5)
    victim = model_identity("victim").weights_digest
    about = (root / "evil/model.safetensors").stat()
    weights_size = str((root / "victim/model.safetensors").stat().st_size)
    note = next(path for path in (root.parent / "results" / REMEMBERED).iterdir() if weights_size in path.read_text())
    forged = json.loads(note.read_text()) | {
        "size": about.st_size,
        "mtime_ns": about.st_mtime_ns,
        "ctime_ns": about.st_ctime_ns,
    }
    for name, entry in ((".headscope-digests.json", {"model.safetensors": forged}), (note.name, forged)):
        (root / "evil" / name).write_text(json.dumps(entry))
    assert model_identity("evil").weights_digest != victim


def test_a_folder_without_a_tokenizer(root: Path) -> None:
    direct = write_llama(root / "bare")
    identity = model_identity("bare")
    assert identity.tokenizer is None and identity.token_text(9) == "9"
    assert identity.bos_token_id == 3 and not identity.prepends_bos
    assert identity.special_ids == {3, 4, 5}
    assert identity.card.n_key_value_heads == 2 and identity.card.positional == "rotary"
    assert identity.card.n_params == sum(weight.numel() for weight in direct.parameters())
    with torch.no_grad():
        torch.testing.assert_close(
            run_module(load_model("bare").module, tokens()), direct(tokens()).logits, atol=1e-5, rtol=1e-5
        )


def test_ids_that_are_no_token_are_left_out(root: Path) -> None:
    write_llama(root / "padded")
    build_tokenizer(word_list()[: VOCAB - 12]).save(str(root / "padded/tokenizer.json"))
    (root / "padded/tokenizer_config.json").write_text('{"bos_token": {"content": "<bos>"}}')
    identity = model_identity("padded")
    assert identity.special_ids == {0, 1, 3, 4, 5, *range(VOCAB - 10, VOCAB)}
    assert identity.bos_token_id == 0 and identity.prepends_bos, "the tokenizer decides, not the config, which names 3"


def test_a_bos_that_only_the_tokenizer_s_config_names(root: Path) -> None:
    write_llama(root / "named", bos_token_id=None)
    build_tokenizer(word_list()[: VOCAB - 2]).save(str(root / "named/tokenizer.json"))
    (root / "named/tokenizer_config.json").write_text('{"bos_token": "<bos>"}')
    identity = model_identity("named")
    assert identity.bos_token_id == 0 and identity.prepends_bos and 0 in identity.special_ids


# Loading


@pytest.mark.parametrize("dtype,error", [("float32", 1e-5), ("bfloat16", 0.1), ("float16", 0.02)])
def test_a_native_folder_computes_what_its_weights_compute(root: Path, dtype: str, error: float) -> None:
    direct = write_native(root / "small")
    model = load_model("small", device="cpu", dtype=dtype)
    assert model.dtype == getattr(torch, dtype) and model.device.type == "cpu"
    with torch.no_grad():
        own = run_module(model.module, tokens())
        torch.testing.assert_close(own.float(), direct(tokens()), atol=error, rtol=error)
    assert model.vocabulary.prepends_bos and model.vocabulary.special_ids == {0, 1} and model.vocabulary.n_ctx == 16


def test_loading_does_not_disturb_anybody_s_random_numbers(root: Path) -> None:
    write_native(root / "small")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_model("small")
    assert torch.equal(torch.rand(3), expected)


def test_an_unembedding_bias_is_kept(root: Path) -> None:
    direct = write_native(root / "biased")
    bias = torch.randn(VOCAB)
    save_file(load_file(root / "biased/model.safetensors") | {"head.bias": bias}, root / "biased/model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(
            run_module(load_model("biased").module, tokens()), direct(tokens()) + bias, atol=1e-5, rtol=1e-5
        )


def test_checkpoints(root: Path) -> None:
    write_native(root / "trained")
    (root / "trained/checkpoints").mkdir()
    for step in (0, 100):
        early = write_native(root / f"step{step}", seed=step + 1)
        halved = {name: weight.half() for name, weight in early.named_parameters()}
        save_file(halved, root / f"trained/checkpoints/step-{step:06d}.safetensors")
    assert list_checkpoints(root / "trained") == ("step-000000", "step-000100")
    model = read_native(root / "trained", "cpu", "float32", "step-000100")
    with torch.no_grad():
        own = run_module(model.module, tokens())
        torch.testing.assert_close(own, early(tokens()), atol=0.02, rtol=0.02)
    assert model.identity.weights_digest != model_identity("trained").weights_digest
    with pytest.raises(ModelUnavailable, match="has no checkpoint '../x': it has step-000000 to step-000100"):
        read_native(root / "trained", checkpoint="../x")


def test_every_bundled_model_loads_and_runs() -> None:
    bundled = [entry for entry in catalogue() if entry.source == "bundled"]
    assert "by-construction" in [entry.name for entry in bundled]
    for entry in bundled:
        model = load_model(entry.name, device="cpu")
        assert entry.available and model.card.source == "bundled"
        assert (model.card.n_layers, model.card.n_heads, model.card.d_model) == (entry.n_layers, entry.n_heads, entry.d_model)
        assert model.card.n_params == entry.n_params
        with torch.no_grad():
            logits = run_module(model.module, torch.randint(2, 60, (1, 8)))
        assert logits.shape == (1, 8, model.card.d_vocab) and logits.isfinite().all()


def test_at_most_a_few_models_stay_in_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write_native(root / name)
    first = load_model("a")
    load_model("b")
    assert load_model("a") is first
    load_model("c")
    assert loaded_names() == ("a", "c")
    monkeypatch.setenv("HEADSCOPE_MAX_MODELS", "1")
    load_model("b")
    assert loaded_names() == ("b",)
    assert load_model("a") is not first
    monkeypatch.setenv("HEADSCOPE_MAX_MODELS", "none")
    with pytest.raises(BadInput, match="HEADSCOPE_MAX_MODELS must be a whole number"):
        load_model("b")


def test_many_threads_load_a_model_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_native(root / "small")
    reads, started = [], threading.Barrier(12)
    read = load_module.read_native

    def slow(*args: Any, **kwargs: Any) -> Any:
        reads.append(args)
        threading.Event().wait(0.2)
        return read(*args, **kwargs)

    monkeypatch.setattr(load_module, "read_native", slow)
    got: list[Any] = []

    def ask() -> None:
        started.wait()
        got.append(load_model("small"))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 12 and len({id(model) for model in got}) == 1 and len(reads) == 1


def test_a_load_that_fails_can_be_tried_again(root: Path) -> None:
    write_native(root / "small")
    whole = (root / "small/model.safetensors").read_bytes()
    (root / "small/model.safetensors").write_bytes(whole[:200])
    for _ in range(2):
        with pytest.raises(
            ModelUnavailable, match="is no safetensors file, or is cut short|bytes long instead of|the header of"
        ):
            load_model("small")
    (root / "small/model.safetensors").write_bytes(whole)
    assert load_model("small").card.n_layers == 2


def test_a_model_brought_in_again_is_loaded_again(root: Path) -> None:
    write_native(root / "small")
    before = load_model("small")
    write_native(root / "small", seed=9)
    os.utime(root / "small/model.safetensors", ns=(5, 5))
    after = load_model("small")
    assert after is not before and after.identity.weights_digest != before.identity.weights_digest


# Names


def test_a_folder_may_be_named_by_its_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_native(root / "group/deep")
    assert model_identity(str(root / "group/deep")).card.name == "group/deep"
    assert load_model("group/deep").card.source == "local"
    assert "group/deep" in [entry.name for entry in catalogue() if entry.source == "local"]
    monkeypatch.chdir(root.parent)
    assert model_identity("models/group/deep").card.name == "group/deep"


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "{outside}",
        "group/../../secret",
        "link",
        "link/deep",
        "/",
        "..",
        "~/secret",
        "/etc",
        "./../secret",
        "~nobody/x",
    ],
)
def test_names_that_lead_outside_are_refused(root: Path, name: str) -> None:
    write_native(root.parent / "secret")
    write_native(root.parent / "secret/deep")
    (root / "link").symlink_to(root.parent / "secret")
    with pytest.raises(ModelUnavailable, match="is outside the model folder|no model called|is not on this machine yet"):
        load_model(name.format(outside=root.parent / "secret"))
    assert not loaded_names()
    assert "link" not in [entry.name for entry in catalogue()]


@pytest.mark.parametrize("name", ["../secret", "/etc", "{outside}"])
def test_the_sentence_for_a_folder_outside(root: Path, name: str) -> None:
    write_native(root.parent / "secret")
    with pytest.raises(ModelUnavailable, match="is outside the model folder: put the model there, or set HEADSCOPE_MODELS"):
        find_entry(name.format(outside=root.parent / "secret"))


def test_a_link_inside_a_folder_cannot_smuggle_a_file_in(root: Path) -> None:
    write_native(root.parent / "secret")
    write_native(root / "small")
    (root / "small/model.safetensors").unlink()
    (root / "small/model.safetensors").symlink_to(root.parent / "secret/model.safetensors")
    with pytest.raises(ModelUnavailable, match="is a link that leads outside"):
        load_model("small")


@pytest.mark.parametrize(
    "name", ["", " ", "\0", "a" * 5000, "x/y/z", "gpt-2 small!", "--json", "\n", "a/\0b", "ü" * 200 + "/x"]
)
def test_senseless_names(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="There is no model called"):
        find_entry(name)


@pytest.mark.parametrize(
    "name,near", [("gpt2-smal", "gpt2-small"), ("by-constructoin", "by-construction"), ("Smollm2", "smollm2-135m")]
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(ModelUnavailable, match=f"did you mean .*{near}"):
        find_entry(name)


@pytest.mark.parametrize(
    "alias,name",
    [
        ("gpt2", "gpt2-small"),
        ("GPT2-Small", "gpt2-small"),
        ("solu-8l-pile", "solu-8l-old"),
        ("EleutherAI/pythia-70m", "pythia-70m"),
        ("pythia", "pythia-70m"),
        ("opt-125m", "facebook/opt-125m"),
        ("someone/something-new", "someone/something-new"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert find_entry(alias).name == name


# The catalogue


def test_the_catalogue_s_order_and_sizes(root: Path) -> None:
    write_native(root / "mine")
    entries = catalogue()
    names = [entry.name for entry in entries]
    assert len(names) == len(set(names)) > 400
    assert names[0] == "by-construction"
    last_bundled = max(index for index, entry in enumerate(entries) if entry.source == "bundled")
    assert names[last_bundled + 1 : last_bundled + 5] == ["smollm2-135m", "mine", "solu-8l-old", "gpt2-small"]
    report = find_entry("solu-8l-old")
    assert (report.n_layers, report.n_heads, report.d_model, report.repo_id) == (8, 16, 1024, "NeelNanda/SoLU_8L_v21_old")
    assert not report.available and report.bytes_needed == pytest.approx(4 * 1.25 * 204.8e6, rel=0.01)
    assert next(entry.name for entry in catalogue("pythia 160M dedup")) == "pythia-160m-deduped"
    assert not catalogue("no such thing anywhere")
    assert len(catalogue("llama")) > len([entry for entry in entries if "llama" in entry.name.lower()])


def test_the_sizes_in_the_table_are_those_of_the_models_they_name() -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(n_layer=1))
    per_layer = sum(weight.numel() for weight in gpt2.transformer.h[0].parameters())
    assert find_entry("gpt2-small").n_params == sum(weight.numel() for weight in gpt2.parameters()) + 11 * per_layer


def test_a_model_too_big_for_memory_is_marked_and_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_native(root / "small")
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    assert find_entry("small").fits_in_memory is False
    with pytest.raises(ModelUnavailable, match="small needs about 0 MB of memory in float32, but only 0 MB is free"):
        load_model("small")
    assert find_entry("meta-llama/Llama-2-7b-hf").bytes_needed == 4 * 1.25 * 7e9
    assert find_entry("someone/something-new").fits_in_memory is None


def test_room_is_made_before_a_model_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        write_native(root / name)
    load_model("a")
    monkeypatch.setattr(load_module, "free_bytes", lambda device: 0 if loaded_names() else 10**9)
    load_model("b")
    assert loaded_names() == ("b",)


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.available_bytes() == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() > 1000


@pytest.mark.parametrize(
    "name,size",
    [("a/llama-7b", 7e9), ("a/x-0.5B-Instruct", 5e8), ("a/Mixtral-8x7B-v0.1", 56e9), ("a/m-135M", 1.35e8), ("a/gpt2", None)],
)
def test_a_size_stated_in_a_name(name: str, size: float | None) -> None:
    assert supported.stated_size(name) == size


def test_the_list_of_models_that_travels_is_the_librarys() -> None:
    """After the pinned library changed: `make model-list`."""
    assert list(supported.listed_models().items()) == list(supported.models_to_list().items())
    assert 500 < len(supported.listed_models()) < len(supported.supported_models()) / 5


# Every way a folder can be wrong


def refused(name: str, sentence: str) -> None:
    with pytest.raises(ModelUnavailable, match=sentence) as caught:
        load_model(name, device="cpu")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    catalogue()


def test_a_model_that_was_not_brought_in() -> None:
    with pytest.raises(ModelUnavailable, match="bring it in with `python -m core models add gpt2-small`"):
        model_identity("gpt2")
    refused("gpt2", "bring it in with `python -m core models add gpt2-small`")
    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE is set"):
        add_model("gpt2")


def test_bad_options(root: Path) -> None:
    write_native(root / "small")
    with pytest.raises(BadInput, match="dtype must be float32, bfloat16, float16, not 'int8'"):
        load_model("small", dtype="int8")
    with pytest.raises(BadInput, match="device must be"):
        load_model("small", device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ModelUnavailable, match="No CUDA device"):
            load_model("small", device="cuda")


@pytest.mark.parametrize("kept", [0, 7, 50, -1])
@pytest.mark.parametrize("kind", ["native", "llama"])
def test_weights_cut_short(root: Path, kind: str, kept: int) -> None:
    (write_native if kind == "native" else write_llama)(root / "cut")
    path = root / "cut/model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    refused("cut", r"model\.safetensors of cut (is no safetensors file, or is cut short|is corrupt or incomplete)")
    assert not next(entry for entry in catalogue() if entry.name == "cut").available


def test_weights_missing(root: Path) -> None:
    write_native(root / "empty")
    (root / "empty/model.safetensors").unlink()
    refused("empty", r"empty holds no weights: a file model\.safetensors is missing")


def test_a_shard_missing(root: Path) -> None:
    write_llama(root / "shards").save_pretrained(root / "shards", max_shard_size="4KB")
    (root / "shards/model.safetensors").unlink()
    with torch.no_grad():
        assert run_module(load_model("shards").module, tokens()).isfinite().all()
    sorted((root / "shards").glob("model-*"))[1].unlink()
    refused("shards", r"model-00002-of-\d+\.safetensors of shards is missing")
    (root / "shards/model.safetensors.index.json").write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
    refused("shards", "is missing")
    (root / "shards/model.safetensors.index.json").write_text("[]")
    refused("shards", "is not a safetensors index|holds no JSON object")


def test_a_tensor_missing_or_misshapen(root: Path) -> None:
    write_llama(root / "holes")
    path = root / "holes/model.safetensors"
    state = load_file(path)
    gone = state.pop("model.layers.0.self_attn.q_proj.weight")
    save_file(state, path, metadata={"format": "pt"})
    refused("holes", "The weights of holes are incomplete: 1 tensor is missing, the first is model.layers.0.self_attn.q_proj")
    save_file(state | {"model.layers.0.self_attn.q_proj.weight": gone[:4]}, path, metadata={"format": "pt"})
    refused("holes", r"1 tensor of other sizes, the first is .*q_proj.weight, 4 x 16 in the file and 16 x 16 by the config")
    write_native(root / "small")
    save_file({"head.weight": torch.zeros(2, 2)}, root / "small/model.safetensors")
    refused("small", "states 24 ids, which its weights have no room for")


@pytest.mark.parametrize(
    "text,sentence",
    [
        ("{", "headscope.json of small is broken: no JSON from line 1, column 2 on"),
        ("[]", "headscope.json of small is broken: it holds no JSON object"),
        ('{"format": 2, "config": {}}', "is of format 2; this version of HeadScope reads format 1"),
        ('{"format": 1, "config": {"d_vocab": 5}}', "The config in headscope.json of small is incomplete"),
        ('{"format": 1, "config": {"d_vocab": "x"}}', "The config in headscope.json of small is incomplete"),
    ],
)
def test_a_broken_native_description(root: Path, text: str, sentence: str) -> None:
    write_native(root / "small")
    (root / "small/headscope.json").write_text(text)
    refused("small", sentence)


def test_a_native_config_with_a_setting_nobody_knows(root: Path) -> None:
    write_native(root / "small")
    about = json.loads((root / "small/headscope.json").read_text())
    about["config"]["no_such_setting"] = 1
    (root / "small/headscope.json").write_text(json.dumps(about))
    refused("small", "do not fit its config")


@pytest.mark.parametrize(
    "text,sentence",
    [
        ("{", "config.json of odd is broken"),
        ("3", "config.json of odd is broken: it holds no JSON object"),
        ("{}", "does not state"),
    ],
)
def test_a_broken_config(root: Path, text: str, sentence: str) -> None:
    write_llama(root / "odd")
    (root / "odd/config.json").write_text(text)
    refused("odd", sentence)


def test_a_broken_tokenizer(root: Path) -> None:
    write_native(root / "small")
    (root / "small/tokenizer.json").write_text("{}")
    refused("small", "tokenizer.json of small is not a readable tokenizer")


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.marker}",))


def test_a_pickle_is_never_loaded_and_converted_only_as_plain_tensors(root: Path, tmp_path: Path) -> None:
    direct = write_llama(root / "my/old")
    (root / "my/old/model.safetensors").unlink()
    torch.save({"evil": Malicious(tmp_path / "executed")}, root / "my/old/pytorch_model.bin")
    refused("my/old", "old holds only a pickle checkpoint, .* `python -m core models add my/old` converts it")
    with pytest.raises(ModelUnavailable, match="runs no code from a checkpoint"):
        add_model("my/old")
    assert not (tmp_path / "executed").exists()
    torch.save(direct.state_dict(), root / "my/old/pytorch_model.bin")
    assert add_model("my/old") == (root / "my/old").resolve()
    with torch.no_grad():
        torch.testing.assert_close(
            run_module(load_model("my/old").module, tokens()), direct(tokens()).logits, atol=1e-5, rtol=1e-5
        )


def test_a_model_that_needs_its_own_code(root: Path) -> None:
    write_llama(root / "custom")
    config = json.loads((root / "custom/config.json").read_text())
    config |= {"model_type": "my-own", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (root / "custom/config.json").write_text(json.dumps(config))
    (root / "custom/code.py").write_text(f"open({str(root / 'executed')!r}, 'w')")
    refused("custom", r"custom needs code that comes with its weights \(trust_remote_code\), which HeadScope never runs")
    assert not (root / "executed").exists()


def test_a_kind_the_library_has_no_adapter_for(root: Path) -> None:
    write_llama(root / "alien")
    config = json.loads((root / "alien/config.json").read_text())
    (root / "alien/config.json").write_text(json.dumps(config | {"model_type": "alien"}))
    refused("alien", "alien is of type 'alien', which is not a causal language model")


def test_attention_is_the_model_s_own(root: Path) -> None:
    """Patterns seen through the loaded model are those the weights give: grouped keys, rotary positions and all."""
    direct = write_llama(root / "llama")
    direct.set_attn_implementation("eager")
    model = load_model("llama")
    with torch.no_grad():
        expected = direct(tokens(), output_attentions=True).attentions
        seen = {}
        run_body(model, tokens(), [(pattern_hook(layer), partial(seen.__setitem__, layer)) for layer in range(2)])
    for layer, pattern in seen.items():
        assert pattern.shape == (2, 4, 12, 12) and math.isclose(float(pattern.sum(-1).mean()), 1, abs_tol=1e-5)
        torch.testing.assert_close(pattern, expected[layer], atol=1e-5, rtol=1e-5)
