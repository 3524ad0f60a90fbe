"""Folders and clocks that cannot be trusted: links out of the root, pickles, a store that takes nothing, a clock that jumps."""

from __future__ import annotations

import os
import pickle
import random
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from core.errors import ModelUnavailable
from core.models.catalogue import catalogue
from core.models.formats.native_folder import read_native
from core.models.identity import model_identity
from core.models.load import load_model
from core.runtime.files import TEMPORARY
from core.runtime.keys import result_key
from core.runtime.store import Store, Stored
from tests.browser.conftest import running_server
from tests.helpers.visitor import Visitor
from tests.models.test_loading import write_llama, write_native

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "headscope.json",
    "model.safetensors.index.json",
    "tokenizer_config.json",
)


@pytest.mark.parametrize("name", FILES)
def test_no_file_of_a_model_is_a_link_to_somewhere_else(root: Path, name: str, tmp_path: Path) -> None:
    native = name in ("headscope.json", "tokenizer.json")
    (write_native if native else write_llama)(root / "linked")
    secret = tmp_path / "secret"
    secret.mkdir()
    (write_native if native else write_llama)(secret)
    target = secret / name
    if not target.is_file():
        target.write_text('{"weight_map": {}, "add_bos_token": true}')
    if name.endswith("index.json"):
        (root / "linked/model.safetensors").unlink()
    (root / "linked" / name).unlink(missing_ok=True)
    (root / "linked" / name).symlink_to(target)
    for road in (model_identity, load_model):
        with pytest.raises(ModelUnavailable, match="is a link that leads outside the model folder"):
            road("linked")
    assert catalogue(), "and nobody else's models are gone"


def test_no_folder_within_a_model_is_a_link_to_somewhere_else(root: Path, tmp_path: Path) -> None:
    write_native(root / "linked")
    stolen = write_native(tmp_path / "secret", seed=5)
    (tmp_path / "secret/checkpoints").mkdir()
    save_file(dict(stolen.named_parameters()), tmp_path / "secret/checkpoints/step-000001.safetensors")
    (root / "linked/checkpoints").symlink_to(tmp_path / "secret/checkpoints")
    with pytest.raises(ModelUnavailable, match="is a link that leads outside the model folder"):
        read_native(root / "linked", checkpoint="step-000001")
    (root / "linked/checkpoints").unlink()
    (root / "linked/checkpoints").mkdir()
    (root / "linked/checkpoints/step-000001.safetensors").symlink_to("step-000001.safetensors")
    with pytest.raises(ModelUnavailable, match="no checkpoint|no file that can be read"):
        read_native(root / "linked", checkpoint="step-000001")


class Opens:
    """What a pickle can do to whoever reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "final.pth", "training_args.bin", "scheduler.pt", "tokenizer.bin"]
)
@pytest.mark.parametrize("beside", [True, False])
def test_no_pickle_is_opened_beside_weights_or_in_their_place(root: Path, tmp_path: Path, name: str, beside: bool) -> None:
    write_llama(root / "old")
    marker = tmp_path / "opened"
    evil = pickle.dumps({"weights": Opens(marker)})
    (root / "old" / name).write_bytes(evil)
    if beside:
        assert load_model("old").card.n_layers == 2
    else:
        (root / "old/model.safetensors").unlink()
        with pytest.raises(ModelUnavailable, match="holds only a pickle checkpoint, which is never loaded as it is"):
            load_model("old")
        # Under a safetensors file's name, too.
        (root / "old/model.safetensors").write_bytes(evil)
        with pytest.raises(ModelUnavailable, match="no safetensors file"):
            load_model("old")
    assert not marker.exists()


def test_where_nothing_can_be_kept_pages_are_drawn_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file in the place of the store")
    with running_server(tmp_path) as address:
        for _ in range(2):
            with Visitor(address, "Heads", {"model": "two-layer", "length": "12", "sequences": "2"}) as window:
                window.until_still(120)
                shown = window.shown.replace("\\", "")
                assert "Heads of two" in shown and not window.errors
                assert "so results are kept in memory only" in shown
    assert (tmp_path / "results").read_text() == "a file in the place of the store"


HOURS = 7200.0


def jumping(seed: int) -> Any:
    """A clock of the machine that jumps by two hours, ahead or back, at any time; what counts seconds goes on evenly."""
    real, chance = time.time, random.Random(seed)
    return lambda: real() + chance.choice((-HOURS, 0.0, HOURS))


def work(folder: str, seed: int) -> int:
    """Twenty results by four threads under a clock that jumps, files' times with it; how many were computed here."""
    time.time = jumping(seed)  # a process of its own
    store, computed, chance = Store(Path(folder), max_bytes=30_000, memory_entries=2), [], random.Random(seed)

    def one(number: int) -> None:
        def compute() -> Stored:
            computed.append(number)
            return Stored({"value": np.full(300, number)}, {"number": number})

        found = store.get_or_compute(result_key("jump", number=number), compute)
        assert found.meta == {"number": number} and (found.arrays["value"] == number).all()
        for path in Path(folder).glob("*/*"):
            if chance.random() < 0.2:
                try:
                    os.utime(path, (time.time(), time.time()))
                except OSError:
                    continue

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one, [chance.randrange(12) for _ in range(20)]))
    return len(computed)


def test_a_clock_that_jumps_by_hours_during_writes_loses_and_mixes_nothing(tmp_path: Path) -> None:
    """Two servers on one store, so small that it is swept all the time."""
    with get_context("spawn").Pool(2) as servers:
        counts = servers.starmap(work, [(str(tmp_path), 1), (str(tmp_path), 2)])
    assert sum(counts) >= 8
    left = [path.name for path in tmp_path.rglob("*") if path.name.endswith((TEMPORARY, ".bad"))]
    assert left == []
    store = Store(tmp_path)
    for number in range(12):
        found = store.get(result_key("jump", number=number))
        assert found is None or (found.arrays["value"] == number).all()
