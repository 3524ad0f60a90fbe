"""Numbers in a config that take gigabytes although the weights are small: refused before anything is allocated."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    CodeGenConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    LlamaConfig,
    MixtralConfig,
    MptConfig,
    PretrainedConfig,
)

from core.errors import ModelUnavailable
from core.models.formats import config_trial
from core.models.formats.config_trial import MOST_BUFFER_BYTES, build
from core.models.identity import model_identity
from core.models.load import load_model
from core.runtime.jobs import JobPool
from tests.zoo.rows import ROWS
from tests.zoo.sizes import family_of, merged, tiny_settings

pytestmark = pytest.mark.usefixtures("root", "empty_store")
_GPT = dict(n_layer=2, n_head=2, n_embd=16, vocab_size=24, n_positions=32)
_LLAMA = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=24, max_position_embeddings=32)
_NEO = dict(hidden_size=16, num_layers=2, num_heads=2, vocab_size=24, attention_types=[[["global", "local"], 1]])
CONFIGS: dict[str, PretrainedConfig] = {
    "gptj": GPTJConfig(**_GPT, rotary_dim=8),
    "codegen": CodeGenConfig(**_GPT | dict(n_head=4, n_embd=64), rotary_dim=8),
    "gpt2": GPT2Config(**_GPT),
    "gpt_neo": GPTNeoConfig(**_NEO, max_position_embeddings=32),
    "mpt": MptConfig(d_model=16, n_heads=2, n_layers=2, vocab_size=24, max_seq_len=32),
    "llama": LlamaConfig(**_LLAMA, intermediate_size=24),
    "mixtral": MixtralConfig(**_LLAMA, intermediate_size=24, num_key_value_heads=2, num_local_experts=2),
}
# A little more than what is there now may be taken; what was taken once stays free for more.
SPARE = 1_000_000_000


@pytest.fixture
def little_memory() -> Iterator[None]:
    """What would take gigabytes is an error of the system, and no slow test."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + SPARE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def write(folder: Path, kind: str) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(CONFIGS[kind]).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder / "config.json"


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "kind,changes,sentence",
    [
        ("gptj", {"n_positions": 9_000_000}, r"masks and tables of 576 MB beside its weights \(its largest number is n_pos"),
        ("codegen", {"n_positions": 9_000_000}, "masks and tables of 576 MB beside its weights"),
        ("gpt2", {"n_positions": 9_000_000}, "makes a model of 144,.* weights, and its files hold"),
        ("llama", {"intermediate_size": 9_000_000}, "makes a model of 864,.* weights, and its files hold"),
        ("mixtral", {"num_local_experts": 40_000}, "makes a model of .* weights, and its files hold"),
    ],
)
def test_a_number_that_takes_gigabytes_is_refused(root: Path, kind: str, changes: dict[str, int], sentence: str) -> None:
    path = write(root / "large", kind)
    assert load_model("large").card.n_layers == 2
    change(path, **changes)
    assert model_identity("large").card.n_layers == 2, "nothing is built for a page's own script"
    with pytest.raises(ModelUnavailable, match=sentence):
        load_model("large")


@pytest.mark.usefixtures("little_memory")
def test_a_mask_of_all_tokens_by_all_tokens_is_refused_although_the_weights_have_every_position(root: Path) -> None:
    path = write(root / "large", "gpt_neo")
    weights = load_file(root / "large/model.safetensors")
    weights["transformer.wpe.weight"] = torch.zeros(60_000, 16)
    save_file(weights, root / "large/model.safetensors", metadata={"format": "pt"})
    change(path, max_position_embeddings=60_000)
    with pytest.raises(ModelUnavailable, match=r"masks and tables of 7\.2 GB beside its weights"):
        load_model("large")


def test_what_is_too_large_to_be_tried_here_is_tried_in_a_process_of_its_own_and_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "large", "mpt")
    change(path, max_seq_len=10**9)
    pool = JobPool()
    tried = pool.submit("load", lambda control: load_model("large"), "a")
    # The turn is somebody else's meanwhile.
    assert pool.submit("short", lambda control: "here", "b").result(30) == "here"
    with pytest.raises(
        ModelUnavailable, match=r"masks and tables of 8\.0 GB in a pass over a few tokens \(its largest number is"
    ):
        tried.result(120)
    monkeypatch.setattr(config_trial, "run_bounded", lambda *given, **more: pytest.fail("tried again"))
    with pytest.raises(ModelUnavailable, match="in a pass over a few tokens"):
        load_model("large")


def test_a_machine_that_cannot_try_a_config_blames_no_config_and_keeps_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a", "gpt2")
    change(path, a_setting_of_somebody=200_000)
    with monkeypatch.context() as broken:
        broken.setattr(config_trial, "_TRIAL", "import a_module_that_is_not_there")
        with pytest.raises(ModelUnavailable, match="could not be tried in a process of its own on this machine") as error:
            load_model("a")
        assert "GB" not in str(error.value)
    assert load_model("a").card.n_layers == 2


@pytest.mark.parametrize(
    "row,field",
    [
        ("bamba", "mamba_chunk_size"),
        ("mamba2", "chunk_size"),
        ("deepseek_v3", "head_dim"),
        ("mpt", "n_heads"),
        ("gptj", "n_positions"),
    ],
)
def test_what_only_a_pass_would_take_is_seen_without_memory(root: Path, row: str, field: str) -> None:
    """Found by setting every number of every family of the zoo to twenty million."""
    settings = merged(tiny_settings(family_of(ROWS[row].model_type)), ROWS[row].changes)
    folders = []
    for name, changes in (("small", {}), ("large", {field: 20_000_000})):
        family_of(ROWS[row].model_type)(**settings | changes).save_pretrained(root / name)
        built = build(str(root / name))
        assert built is not None
        folders.append(built)
    small, large = folders
    assert max(small.buffer_bytes, small.pass_bytes) < MOST_BUFFER_BYTES < max(large.buffer_bytes, large.pass_bytes)


def test_building_without_memory_disturbs_nobody_s_random_numbers(root: Path) -> None:
    write(root / "small", "llama")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert build(str(root / "small")) is not None
    assert torch.equal(torch.rand(3), expected)
