"""Trains a bundled model from its recipe and writes the project's own folder for native models.

The model trained is the plain `NativeModel` that the bridge wraps later, always on the CPU in fp32, so that a recipe
gives the same weights wherever it is run with the same library versions and number of threads.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge.sources.native import NativeModel, initialize_native_model

from core.errors import BadInput
from core.models.built_in.recipes import RECIPES, Recipe, distinct_words, draw_rows
from core.models.built_in.word_tokenizer import BOS_ID, UNK_ID, save_tokenizer
from core.runtime.jobs import current_control

PROBE_LENGTH = 25
PROBE_SEQUENCES = 16
PROBE_SEED = 1234
_ABOUT, _CHECKPOINTS = "headscope.json", "checkpoints"
# All that training writes.
_WRITTEN = {"model.safetensors", _CHECKPOINTS, "tokenizer.json", "tokenizer_config.json", _ABOUT}


@dataclass(frozen=True)
class Measurement:
    """What a model does on the probe `[BOS, r, r]`: losses in nats, one prefix-matching score for every head."""

    first_copy_loss: float
    second_copy_loss: float
    prefix_matching: Float[Tensor, "layer head"]
    previous_token: Float[Tensor, "layer head"]


@dataclass(frozen=True)
class Snapshot:
    """The model as it was after `step` optimiser steps; `loss` is the last batch's, in nats a token."""

    step: int
    loss: float
    measured: Measurement
    weights: dict[str, Tensor]


def build_model(recipe: Recipe) -> NativeModel:
    """The recipe's model with its initial weights, decided by the recipe's seed alone."""
    config = TransformerBridgeConfig(**recipe.config(), device="cpu")
    # Constructing layers draws from the global generator before our seeded init: leave the caller's as it was.
    with torch.random.fork_rng(devices=[]):
        model = NativeModel(config)
        initialize_native_model(model, config)
    with torch.no_grad():
        model.tok_embed.weight.mul_(recipe.embed_scale)
        if recipe.mlp_out_std is not None:
            generator = torch.Generator().manual_seed(recipe.seed)
            for name, weight in model.named_parameters():
                if name.endswith("mlp.fc_out.weight"):
                    weight.normal_(0.0, recipe.mlp_out_std, generator=generator)
    return model


def token_losses(model: NativeModel, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos_minus_1"]:
    """Cross-entropy in nats of every token after the first; entry `i` is the loss on the token at `i + 1`."""
    logits = model(tokens)[:, :-1]
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")


def head_norms(model: NativeModel) -> Float[Tensor, "layer head"]:
    """The Frobenius norm of all of a head's weights together: query, key, value and output.

    As a penalty this is a group lasso: a head that adds little to what the others do shrinks to nothing, pattern and
    all, where without it every head of a layer grows into the same one.
    """
    layers = []
    for block in model.layers:
        attn = block.attn
        inward = [w.weight.view(attn.n_heads, -1).square().sum(1) for w in (attn.q, attn.k, attn.v)]
        outward = attn.o.weight.view(attn.d_model, attn.n_heads, attn.d_head).square().sum((0, 2))
        # The square root has no gradient at zero.
        layers.append((torch.stack([*inward, outward]).sum(0) + 1e-12).sqrt())
    return torch.stack(layers)


def probe_tokens(length: int, sequences: int, d_vocab: int, seed: int) -> Int[Tensor, "batch pos"]:
    """`[BOS, r, r]` with `r` of `length` distinct words, `2 * length + 1` tokens a row."""
    half = distinct_words(sequences, length, d_vocab, torch.Generator().manual_seed(seed))
    return torch.cat([torch.full((sequences, 1), BOS_ID), half, half], dim=1)


@torch.no_grad()
def measure(model: NativeModel, length: int = PROBE_LENGTH, sequences: int = PROBE_SEQUENCES) -> Measurement:
    """Losses and head scores on a fixed probe of `sequences` rows, from the model's own attention patterns."""
    tokens = probe_tokens(length, sequences, model.cfg.d_vocab, PROBE_SEED)
    patterns: list[Tensor] = []
    hooks = [block.attn.register_forward_hook(lambda _m, _i, out: patterns.append(out[1])) for block in model.layers]
    try:
        losses = token_losses(model, tokens)
    finally:
        for hook in hooks:
            hook.remove()
    stacked = torch.stack(patterns, dim=1)
    queries = torch.arange(length + 1, 2 * length + 1)
    # The query at position 1 would look back at the BOS: that is a sink, not a previous-token head.
    later = torch.arange(2, 2 * length + 1)
    return Measurement(
        first_copy_loss=float(losses[:, :length].mean()),
        second_copy_loss=float(losses[:, length + 1 :].mean()),
        prefix_matching=stacked[..., queries, queries - length + 1].mean((0, -1)),
        previous_token=stacked[..., later, later - 1].mean((0, -1)),
    )


def train(recipe_name: str, output: Path) -> Path:
    """Train the recipe called `recipe_name` and write its folder to `output`, replacing what is there.

    Args:
        recipe_name: a key of `RECIPES`.
        output: the folder to write; it appears complete or not at all.

    Raises:
        BadInput: there is no such recipe, something else is in the way (`check_output`), or it cannot be written.
    """
    if recipe_name not in RECIPES:
        raise BadInput(f"There is no recipe {recipe_name!r}; the recipes are {', '.join(RECIPES)}.")
    return train_recipe(RECIPES[recipe_name], output)


def train_recipe(recipe: Recipe, output: Path) -> Path:
    """`train` for a recipe that need not be in the table."""
    check_output(output)
    model, snapshots = fit(recipe)
    write_folder(recipe, model, snapshots, output)
    return output


def fit(recipe: Recipe) -> tuple[NativeModel, list[Snapshot]]:
    """Run the recipe's training; the model at the end, and a snapshot every `recipe.snapshot_every` steps."""
    control = current_control()
    model = build_model(recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_factor(recipe, step))
    snapshots: list[Snapshot] = []
    for step in range(recipe.steps + 1):
        shares = torch.tensor([b.share if step >= b.from_step else 0.0 for b in recipe.batches])
        batches = recipe.batches[int(torch.multinomial(shares, 1, generator=generator))]
        tokens = draw_rows(recipe.rows, batches.rows, batches.length, model.cfg.d_vocab, generator)
        loss = token_losses(model, tokens).mean()
        if step % recipe.snapshot_every == 0 or step == recipe.steps:
            snapshots.append(_snapshot(model, step, loss.item()))
            second = snapshots[-1].measured.second_copy_loss
            control.progress(step / recipe.steps, f"step {step} of {recipe.steps}, second-copy loss {second:.2f} nats")
        if step == recipe.steps:
            break
        optimizer.zero_grad(set_to_none=True)
        penalty = recipe.head_penalty if step >= recipe.head_penalty_from_step else 0.0
        (loss + penalty * head_norms(model).sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        schedule.step()
    return model, snapshots


def choose_checkpoints(snapshots: list[Snapshot], count: int) -> list[Snapshot]:
    """At most `count` snapshots, the first and the last among them, close together where the model changes fast.

    They are evenly spaced along the curve of (training time, second-copy loss, highest prefix matching), each axis
    scaled to its own range: a plateau keeps few, the phase change many.
    """
    curve = torch.tensor(
        [[s.step, s.measured.second_copy_loss, s.measured.prefix_matching.max()] for s in snapshots],
        dtype=torch.float64,
    )
    spread = (curve.amax(0) - curve.amin(0)).clamp(min=1e-9)
    along = torch.cat([torch.zeros(1), ((curve / spread).diff(dim=0)).abs().sum(1).cumsum(0)])
    chosen = {0, len(snapshots) - 1}
    # Farthest point first, so that two targets never fall on the same snapshot.
    while len(chosen) < min(count, len(snapshots)):
        distance = (along[:, None] - along[sorted(chosen)][None, :]).abs().amin(1)
        chosen.add(int(distance.argmax()))
    return [snapshots[i] for i in sorted(chosen)]


def check_output(output: Path) -> None:
    """Raises BadInput where a model cannot be put at `output`, or would take the place of what no training has written."""
    try:
        if (output.exists() or output.is_symlink()) and not _is_ours(output):
            raise BadInput(
                f"{output} holds something else than a model that was trained here: give a folder that is new or empty."
            )
        output.parent.mkdir(parents=True, exist_ok=True)
        _scratch(output).cleanup()
    except OSError as error:
        raise _cannot_write(output, error) from None


def write_folder(recipe: Recipe, model: NativeModel, snapshots: list[Snapshot], output: Path) -> None:
    """Write weights, checkpoints, tokenizer and `headscope.json` beside `output`, then move them into place.

    Raises BadInput as `check_output`, and where the disk is full; what was there before is there then.
    """
    try:
        with _scratch(output) as scratch:
            folder = Path(scratch) / "new"
            (folder / _CHECKPOINTS).mkdir(parents=True)
            save_file(_parameters(model), folder / "model.safetensors")
            for snapshot in choose_checkpoints(snapshots, recipe.checkpoints):
                save_file(snapshot.weights, folder / _CHECKPOINTS / f"step-{snapshot.step:06d}.safetensors")
            save_tokenizer(folder, recipe.n_ctx)
            about = json.dumps(_about(recipe, snapshots), indent=1)
            (folder / _ABOUT).write_text(about + "\n", encoding="utf-8")
            # Training takes minutes: something can have come meanwhile.
            check_output(output)
            _put_in_place(folder, output)
    except OSError as error:
        raise _cannot_write(output, error) from None


def _is_ours(output: Path) -> bool:
    """Whether it is an empty folder, or holds what training writes and nothing else."""
    if not output.is_dir():
        return False
    names = {path.name for path in output.iterdir()}
    if not names:
        return True
    try:
        about = json.loads((output / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    checkpoints = output / _CHECKPOINTS
    snapshots = list(checkpoints.iterdir()) if checkpoints.is_dir() else []
    return (
        names <= _WRITTEN
        and isinstance(about, dict)
        and {"format", "recipe", "training"} <= set(about)
        and all(path.match("step-*.safetensors") for path in snapshots)
    )


def _put_in_place(folder: Path, output: Path) -> None:
    """Move the new folder to where the old one is, if any, which is there again if that is interrupted."""
    # Not in the scratch folder, which is emptied when something goes wrong.
    old = output.with_name(f".{output.name}-{secrets.token_hex(8)}.old")
    try:
        if output.exists():
            output.rename(old)
        folder.rename(output)
    except BaseException:
        if old.exists() and not output.exists():
            old.rename(output)
        raise
    finally:
        if output.exists():
            shutil.rmtree(old, ignore_errors=True)


def _scratch(output: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-")


def _cannot_write(output: Path, error: OSError) -> BadInput:
    return BadInput(f"A model cannot be written to {output}: {error.strerror or error}.")


def _about(recipe: Recipe, snapshots: list[Snapshot]) -> dict[str, object]:
    measured = [s.measured for s in snapshots]
    return {
        "format": 1,
        "name": recipe.name,
        "title": recipe.title,
        "description": recipe.description,
        "family": "bundled",
        "config": recipe.config(),
        "bos_token_id": BOS_ID,
        "special_ids": [BOS_ID, UNK_ID],
        "recipe": recipe.as_json(),
        "training": {
            "probe": {"length": PROBE_LENGTH, "sequences": PROBE_SEQUENCES, "seed": PROBE_SEED},
            "steps": [s.step for s in snapshots],
            "loss": [round(s.loss, 4) for s in snapshots],
            "first_copy_loss": [round(m.first_copy_loss, 4) for m in measured],
            "second_copy_loss": [round(m.second_copy_loss, 4) for m in measured],
            "prefix_matching_max": [round(float(m.prefix_matching.max()), 4) for m in measured],
            "previous_token_max": [round(float(m.previous_token.max()), 4) for m in measured],
        },
    }


def _parameters(model: NativeModel, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    # Parameters only: masks and rotary tables are rebuilt from the config.
    return {name: p.detach().to(dtype, copy=True).contiguous() for name, p in model.named_parameters()}


def _snapshot(model: NativeModel, step: int, loss: float) -> Snapshot:
    return Snapshot(step, loss, measure(model), _parameters(model, torch.float16))


def _learning_rate_factor(recipe: Recipe, step: int) -> float:
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    cool = min(1.0, (recipe.steps - step) / max(1, recipe.decay_steps))
    return warm * cool
