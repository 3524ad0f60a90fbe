"""Models in memory: each loaded once for everybody, at most a few kept, and named by one sentence when it cannot be.

Importing this module, and `model_identity`, cost no torch; `load_model` imports it on first use.
"""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.errors import BadInput
from core.models.catalogue import BY_CONSTRUCTION, find_entry, folder_of
from core.models.formats.hf_folder import read_hf
from core.models.formats.native_folder import read_native
from core.models.identity import model_identity
from core.models.paths import NATIVE_FILE
from core.runtime.jobs import current_control
from core.runtime.locks import POLL_SECONDS, take_lock
from core.runtime.lru import Lru
from core.transformer.card import ModelIdentity
from core.transformer.device import checked_device
from core.transformer.memory import bytes_needed, check_dtype, check_fits, free_bytes

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

__all__ = ["forget_models", "load_model", "loaded_names", "max_models", "model_identity"]

Key = tuple[str, str, str, str]
DEFAULT_MAX_MODELS = 2

# How many really stay is asked at every load (`max_models`).
_loaded: Lru[Key, LoadedModel] = Lru(1 << 16)
_loading: dict[Key, threading.Lock] = {}
# What the weights of a model were at when somebody first had its module.
_stamps: weakref.WeakKeyDictionary[LoadedModel, tuple[object, ...]] = weakref.WeakKeyDictionary()
# The memory that models take which are being loaded.
_under_way: dict[Key, int] = {}
_lock = threading.Lock()


def max_models() -> int:
    """How many models stay in memory: `HEADSCOPE_MAX_MODELS`, 2 if unset.

    Raises BadInput unless it is a whole number of at least 1.
    """
    given = os.environ.get("HEADSCOPE_MAX_MODELS", "").strip() or str(DEFAULT_MAX_MODELS)
    if not given.isdecimal() or int(given) < 1:
        raise BadInput(f"HEADSCOPE_MAX_MODELS must be a whole number of at least 1, not {given!r}.")
    return int(given)


def load_model(name: str, *, device: str = "auto", dtype: str = "float32") -> LoadedModel:
    """A model ready to run, from memory if it is there. Never fetches one: that is asked for (`core.models.fetching`).

    Args:
        name: a catalogue name, `owner/repository`, or a folder under the model folder.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: float32, bfloat16 or float16.

    However many threads ask for the same model at once, it is loaded once, in steps: between two of them others have their
    turn to compute, and who wants it no more stops it.

    Raises BadInput for a bad option, ModelUnavailable if the model cannot be had here, JobCancelled if nobody wants it.
    """
    check_dtype(dtype)
    device = checked_device(device)
    entry = find_entry(name)
    identity = model_identity(entry.name)
    # The digest is part of the key: a model trained or brought in again is loaded again.
    key = (entry.name, device, dtype, identity.weights_digest)
    with _lock:
        turn = _loading.setdefault(key, threading.Lock())
    # Between the steps of a load others have their turn, and what they want may be this very model.
    take_lock(turn)
    try:
        model = _loaded.get(key)
        if model is None:
            current_control().progress(0.0, f"loading {entry.name} ({identity.card.n_params / 1e6:.1f} million weights)")
            with _room_for(key, identity):
                model = _read(identity, device, dtype)
                _loaded.put(key, model)
            _keep(max_models())
            with _lock:
                _loading.pop(key, None)
    finally:
        turn.release()
    return model


def loaded_names() -> tuple[str, ...]:
    """The models in memory, the least recently used first."""
    return tuple(name for name, *_ in _loaded.in_order())


@contextmanager
def reread_if_changed(model: LoadedModel) -> Iterator[None]:
    """Inside, somebody has the module itself; what they leave changed of it, weights or settings, is read anew when asked for.

    One that was handed over is looked at whenever it is asked for.
    """
    from core.models.fingerprint import settings_stamp, weights_stamp

    if model.given is not None:
        yield
        return

    def stamp() -> tuple[object, ...]:
        return (*weights_stamp(model.module), model.device, model.dtype)

    # To look through all weights takes as long as a short pass: once here, and each time afterwards.
    before, settings = _stamps.get(model) or stamp(), settings_stamp(model.module)
    _stamps[model] = before
    try:
        yield
    finally:
        if settings_stamp(model.module) != settings or stamp() != before:
            _loaded.drop(model)


def forget_models() -> None:
    """Let go of every model in memory."""
    _loaded.clear()
    gc.collect()


@contextmanager
def _room_for(key: Key, identity: ModelIdentity) -> Iterator[None]:
    """While inside, memory for a model is set apart for it; waits for other loads where it fits once they have ended.

    Raises ModelUnavailable where it does not fit at all, JobCancelled if nobody wants it any more while it waits.
    """
    control = current_control()
    while not _set_apart(key, identity):
        with control.waiting():
            control.raise_if_cancelled()
            time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        with _lock:
            del _under_way[key]


def _set_apart(key: Key, identity: ModelIdentity) -> bool:
    """Let go of the models that will not be kept anyway, and of more if memory is short; then it must fit.

    False if it does not fit beside what is being loaded at the same time: how much of that is in memory already, nobody knows.
    """
    _, device, dtype, _ = key
    needed = bytes_needed(identity.card.n_params, dtype)
    with _lock:
        others = sum(size for (_, where, _, _), size in _under_way.items() if where == device)
        _keep(max_models() - 1)
        while free_bytes(device) < needed + others and loaded_names():
            _keep(len(loaded_names()) - 1)
        if others and free_bytes(device) < needed + others:
            return False
        check_fits(identity.card.name, identity.card.n_params, dtype, free_bytes(device))
        _under_way[key] = needed
        return True


def _keep(count: int) -> None:
    """Let go of the least recently used models beyond `count`."""
    if _loaded.shrink(count):  # a bridge refers to itself, so its memory comes back only when cycles are collected
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
