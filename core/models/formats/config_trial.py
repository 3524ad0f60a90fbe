"""What a config makes is built without memory first: anybody may have written it, and one number can stand for gigabytes.

Some families make buffers as long as the context (masks, tables of sines), some a module for each expert, and some pad, count
or make a table only in a pass; nothing of it is in the weights file, so no header bounds it. On torch's meta device a model has
every shape and takes no memory: what it and a pass over a few tokens would take is counted there. Where a number in the config
is large, even that is done in a process of its own, with bounded time and memory, and what was found is kept under the config.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.models.formats.bounded_process import TookTooLong, run_bounded
from core.models.formats.hf_config import CONTEXTS
from core.models.formats.weights_file import read_header
from core.models.paths import shown
from core.runtime.keys import result_key
from core.runtime.versions import library_versions
from core.transformer.memory import HEADROOM, gigabytes

_log = logging.getLogger("headscope")
SECONDS = 60
# What the process may take beyond the libraries themselves.
MEMORY = 2_000_000_000
# A model of so many modules at most is made in this process: any number of its config, times its layers.
FEW = 100_000
# Numbers that say how wide or how long something is, and count no modules: these may be larger.
_SIZES = ("hidden_size", "intermediate_size", "ffn_dim", "n_embd", "n_inner", "d_model", "vocab_size", "token_id")
_LENGTHS = (*CONTEXTS, "sliding_window")
LARGEST_SIZE = 10_000_000
# Buffers that are no share of the weights: a mask of 16,384 tokens in each of a few layers.
MOST_BUFFER_BYTES = 256_000_000
# Parameters that a file may lack, such as a copy of the embedding; packed formats keep up to eight weights in one number.
MOST_OF_WHAT_IS_STORED, MOST_WHERE_PACKED = 2, 8
_OUT_OF_MEMORY = 3
_ABOUT_MEMORY = (b"MemoryError", b"memory allocation", b"allocate memory")
_TRIAL = """
import json, resource, sys
path, folder, memory = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.path[:0] = path
import psutil
from core.models.formats.config_trial import build
limit = psutil.Process().memory_info().vms + memory
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    found = build(folder)
except MemoryError:
    sys.exit(3)
print(json.dumps(None if found is None else vars(found)))
"""


@dataclass(frozen=True)
class Built:
    """What a config makes: how many parameters, how many bytes of buffers, and the largest tensor of a pass over 14 tokens."""

    parameters: int
    buffer_bytes: int
    pass_bytes: int


def check_built_size(folder: Path, config: dict[str, Any], files: list[Path], n_layers: int) -> None:
    """Raises ModelUnavailable for a config that makes much more than the weights beside it hold; allocates nothing for it.

    A config that the model library does not accept passes: why it does not is said where it is read.
    """
    built = _built(folder, config, n_layers)
    if built is None:
        return
    stored = sum(math.prod(info.shape) for path in files for info in read_header(path).values())
    most = stored * (MOST_WHERE_PACKED if "quantization_config" in config else MOST_OF_WHAT_IS_STORED)
    if built.parameters > most:
        raise ModelUnavailable(
            f"The config of {shown(folder)} makes a model of {built.parameters:,} weights, and its files hold {stored:,}: "
            "get the config that belongs to them."
        )
    # What is left of the memory that a model is said to need, once its weights are there.
    room = max(MOST_BUFFER_BYTES, int((HEADROOM - 1) * 4 * stored))
    for made, what in ((built.buffer_bytes, "beside its weights"), (built.pass_bytes, "in a pass over a few tokens")):
        if made > room:
            raise ModelUnavailable(
                f"The config of {shown(folder)} makes masks and tables of {gigabytes(made)} {what}{_largest(config)}: a model "
                f"of this size may have {gigabytes(room)}."
            )


def build(folder: str) -> Built | None:
    """Make the model of a folder's config without memory; None where the library cannot.

    Raises MemoryError where its Python objects alone take more than there is.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from transformers import AutoConfig, AutoModelForCausalLM

    class Largest(TorchDispatchMode):
        """Notes the largest tensor that is made."""

        n_bytes = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.ops.aten._local_scalar_dense.default:
                # Some passes ask what is in a tensor, where nothing is: whether all ids are of one text, for example.
                return True if args[0].dtype is torch.bool else 1
            if function is torch.ops.aten._grouped_mm.default:
                # Without memory torch takes it in one number format alone.
                return args[0].new_empty(args[0].shape[0], args[1].shape[-1])
            made = function(*args, **(kwargs or {}))
            for each in tree_leaves(made):
                if isinstance(each, torch.Tensor):
                    self.n_bytes = max(self.n_bytes, each.untyped_storage().nbytes())
            return made

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False, attn_implementation="eager")
    except Exception as error:  # a config is anybody's; what is wrong with it is said where the model is loaded
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise MemoryError from error
        return None
    largest: Any = Largest()  # type: ignore[no-untyped-call]
    try:
        with torch.no_grad(), torch.device("meta"):
            tokens = torch.ones((2, 7), dtype=torch.long)
            with largest:
                model.eval()(input_ids=tokens, use_cache=False)
    except MemoryError:
        raise
    except Exception:  # where a pass asks for more than this can answer, what was made until then is known
        _log.debug("a pass without memory ended early", exc_info=True)
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    return Built(sum(weight.numel() for weight in model.parameters()), buffers, largest.n_bytes)


def _built(folder: Path, config: dict[str, Any], n_layers: int) -> Built | None:
    # Of a model that is loaded alone: a figure that names models needs no store.
    from core.runtime.cache import cached
    from core.runtime.store import Stored

    def make() -> Stored:
        small = all(value <= most for value, most in _numbers(config, FEW // max(1, n_layers)))
        # Windows has no limits that could be set on a process.
        here = small or sys.platform == "win32"
        return Stored({}, _built_here(folder) if here else _built_apart(folder))

    found = cached(result_key("config-trial", config=config, libraries=library_versions()), make).meta
    if found["problem"]:
        raise ModelUnavailable(f"The config of {shown(folder)} {found['problem']}{_largest(config)}.")
    return Built(**found["built"]) if found["built"] else None


def _built_here(folder: Path) -> dict[str, Any]:
    built = build(str(folder))
    return {"problem": "", "built": None if built is None else vars(built)}


def _built_apart(folder: Path) -> dict[str, Any]:
    place = [os.path.abspath(entry) for entry in sys.path]
    try:
        done = run_bounded(_TRIAL, json.dumps(place), str(folder), str(MEMORY), seconds=SECONDS)
    except TookTooLong:
        return {"problem": f"makes a model that takes more than {SECONDS} s to set up or to run on a few tokens", "built": None}
    if done.returncode == 0:
        return {"problem": "", "built": json.loads(done.stdout)}
    if done.returncode == _OUT_OF_MEMORY or done.returncode < 0 or any(said in done.stderr for said in _ABOUT_MEMORY):
        problem = f"makes a model that takes more than {gigabytes(MEMORY)} to set up, its weights apart"
        return {"problem": problem, "built": None}
    # Not the config's doing: nothing is kept of it.
    _log.error("a config could not be tried: %s", done.stderr.decode(errors="replace"))
    raise ModelUnavailable(
        f"The config of {shown(folder)} has large numbers, and could not be tried in a process of its own on this machine: "
        "its owner finds the reason in the log."
    )


def _largest(config: dict[str, Any]) -> str:
    """The setting with the largest number, which is most likely to be the cause."""
    said = [(value, name) for name, value in config.items() if type(value) is int]
    return f" (its largest number is {max(said)[1]}: {max(said)[0]:,})" if said else ""


def _numbers(config: Any, few: int, name: str = "") -> Iterator[tuple[int, int]]:
    """Every number of a config, however deep, and the length of every list, each with the most that it may be here."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _numbers(value, few, key)
    elif isinstance(config, list):
        yield len(config), few
        for value in config:
            yield from _numbers(value, few, name)
    elif isinstance(config, int) and not isinstance(config, bool):
        yield abs(config), LARGEST_SIZE if name.endswith((*_SIZES, *_LENGTHS)) else few
