"""Build the zoo: each row as a folder that a person could bring, `config.json` and safetensors.

    python -m tests.zoo.build FOLDER [ROW ...]

Weights are random; biases and the gains of norms are, too: at the 0 and 1 that they start from, a mistake with them would not
show. Every tensor is finite, and no matrix is zero.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
import zlib
from pathlib import Path

import torch
import transformers
from torch import nn

from tests.zoo.rows import ROWS, Row
from tests.zoo.sizes import family_of, merged, tiny_settings

MOST_WEIGHTS = 20_000_000
SPREAD = 0.2


class NotBuilt(Exception):
    """The library cannot build this row; says why."""


def build(row: Row) -> nn.Module:
    """The row's model, with weights that depend on its name alone.

    Raises NotBuilt with the library's own reason.
    """
    try:
        config = family_of(row.model_type)(**merged(tiny_settings(family_of(row.model_type)), row.changes))
        maker = getattr(transformers, row.maker)
        # Without memory first: a size that this zoo has no name for would be the family's own, billions of weights.
        with torch.device("meta"):
            size = sum(weight.numel() for weight in maker.from_config(config).parameters())
        if size > MOST_WEIGHTS:
            raise NotBuilt(f"{size:,} weights: not tiny")
        torch.manual_seed(zlib.crc32(row.name.encode()))
        model: nn.Module = maker.from_config(config).eval().requires_grad_(False)
    except NotBuilt:
        raise
    except Exception as error:
        raise NotBuilt(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}") from error
    draw_everything(model)
    return model


def draw_everything(model: nn.Module) -> None:
    """Move every bias, gain and scale off its start, and draw what started at zero or was never drawn."""
    buffers = [(name, buffer) for name, buffer in model.named_buffers() if name.endswith("bias") and buffer.is_floating_point()]
    for _, weight in [*model.named_parameters(), *buffers]:
        if not weight.is_floating_point():
            continue
        if not torch.isfinite(weight).all() or (weight.dim() > 1 and weight.std() < SPREAD / 20):
            weight.normal_(std=SPREAD)
        elif weight.dim() <= 1:
            weight.add_(torch.randn_like(weight), alpha=SPREAD)


def save(row: Row, root: Path) -> Path:
    """Build the row and write it as a folder under `root`; raises NotBuilt."""
    folder = root / row.name
    model = build(row)
    try:
        model.save_pretrained(folder)  # type: ignore[operator]
    except Exception as error:
        raise NotBuilt(f"cannot be saved, {type(error).__name__}: {' '.join(str(error).split())[:160]}") from error
    return folder


@contextlib.contextmanager
def quiet():
    """The library's advice about sizes like these is of no use here."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        transformers.logging.enable_progress_bar()
        transformers.logging.set_verbosity(level)


def main(root: Path, names: list[str]) -> None:
    """Save the rows, and `INDEX.txt` beside them: each row with its class, or why it is not there."""
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in names or list(ROWS):
        try:
            with quiet():
                folder = save(ROWS[name], root)
            lines.append(f"{name}\tbuilt\t{ROWS[name].model_type}\t{folder}")
        except NotBuilt as error:
            lines.append(f"{name}\tnot built\t{ROWS[name].model_type}\t{error}")
        print(lines[-1], flush=True)
    index = root / "INDEX.txt"
    known = {line.split("\t")[0]: line for line in index.read_text(encoding="utf-8").splitlines()} if index.exists() else {}
    known |= {line.split("\t")[0]: line for line in lines}
    index.write_text("\n".join(known.values()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
