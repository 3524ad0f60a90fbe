"""Models in memory: each loaded once for everybody, at most a few kept, and named by one sentence when it cannot be.

Importing this module, and `model_identity`, cost no torch; `load_model` imports it on first use.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.errors import BadInput
from core.models.catalogue import BY_CONSTRUCTION, find_entry, folder_of
from core.models.fetching.add import add_model
from core.models.formats.hf_folder import read_hf
from core.models.formats.native_folder import read_native
from core.models.identity import model_identity
from core.models.paths import NATIVE_FILE
from core.transformer.card import ModelIdentity
from core.transformer.device import checked_device
from core.transformer.memory import bytes_needed, check_dtype, check_fits, free_bytes

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

__all__ = ["forget_models", "load_model", "loaded_names", "max_models", "model_identity"]

Progress = Callable[[float, str], None]
Key = tuple[str, str, str, str]
DEFAULT_MAX_MODELS = 2

_loaded: OrderedDict[Key, LoadedModel] = OrderedDict()
_loading: dict[Key, threading.Lock] = {}
_lock = threading.Lock()


def max_models() -> int:
    """How many models stay in memory: `HEADSCOPE_MAX_MODELS`, 2 if unset.

    Raises BadInput unless it is a whole number of at least 1.
    """
    given = os.environ.get("HEADSCOPE_MAX_MODELS", "").strip() or str(DEFAULT_MAX_MODELS)
    if not given.isdecimal() or int(given) < 1:
        raise BadInput(f"HEADSCOPE_MAX_MODELS must be a whole number of at least 1, not {given!r}.")
    return int(given)


def load_model(name: str, *, device: str = "auto", dtype: str = "float32", progress: Progress | None = None) -> LoadedModel:
    """A model ready to run, from memory if it is there; a hub model that is not on this machine is fetched first.

    Args:
        name: a catalogue name, `owner/repository`, or a folder under the model folder.
        device: auto, cpu, cuda or cuda:N.
        dtype: float32, bfloat16 or float16.
        progress: told the share done (0 to 1) and what is being done.

    However many threads ask for the same model at once, it is loaded once.

    Raises BadInput for a bad option, ModelUnavailable if the model cannot be had here.
    """
    report = progress or (lambda share, what: None)
    check_dtype(dtype)
    device = checked_device(device)
    entry = find_entry(name)
    if entry.name != BY_CONSTRUCTION and folder_of(entry) is None:
        add_model(entry.name, report)
    identity = model_identity(entry.name)
    # The digest is part of the key: a model trained or brought in again is loaded again.
    key = (entry.name, device, dtype, identity.weights_digest)
    with _lock:
        turn = _loading.setdefault(key, threading.Lock())
    with turn:
        model = _remembered(key)
        if model is None:
            report(0.1, f"loading {entry.name} ({identity.card.n_params / 1e6:.1f} million weights)")
            _make_room(identity, device, dtype)
            model = _read(identity, device, dtype)
            _remember(key, model)
    report(1.0, f"{entry.name} is loaded")
    return model


def loaded_names() -> tuple[str, ...]:
    """The models in memory, the least recently used first."""
    with _lock:
        return tuple(key[0] for key in _loaded)


def forget_models() -> None:
    """Let go of every model in memory."""
    with _lock:
        _loaded.clear()
    gc.collect()


def _remembered(key: Key) -> LoadedModel | None:
    with _lock:
        model = _loaded.get(key)
        if model is not None:
            _loaded.move_to_end(key)
        return model


def _remember(key: Key, model: LoadedModel) -> None:
    with _lock:
        _loaded[key] = model
        _loading.pop(key, None)
    _keep(max_models())


def _make_room(identity: ModelIdentity, device: str, dtype: str) -> None:
    """Let go of the models that will not be kept anyway, and of more if memory is short; then it must fit."""
    _keep(max_models() - 1)
    needed = bytes_needed(identity.card.n_params, dtype)
    while free_bytes(device) < needed and loaded_names():
        _keep(len(loaded_names()) - 1)
    check_fits(identity.card.name, identity.card.n_params, dtype, free_bytes(device))


def _keep(count: int) -> None:
    """Let go of the least recently used models beyond `count`."""
    with _lock:
        dropped = [_loaded.popitem(last=False)[0] for _ in range(len(_loaded) - count)]
    if dropped:  # a bridge refers to itself, so its memory comes back only when cycles are collected
        gc.collect()


def _read(identity: ModelIdentity, device: str, dtype: str) -> LoadedModel:
    name = identity.card.name
    if name == BY_CONSTRUCTION:
        from core.models.built_in.construction import build

        return build(device=device, dtype=dtype)
    folder = folder_of(find_entry(name))
    assert folder is not None
    if (folder / NATIVE_FILE).is_file():
        return read_native(folder, device, dtype, identity=identity)
    return read_hf(folder, identity, device, dtype)
