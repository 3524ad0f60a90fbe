"""What each head adds to the right token's logit itself: direct logit attribution, proved by adding up (Elhage et al. 2021).

One pass over the model's own module in which every norm keeps its scale, and attention and MLPs pass nothing on of what they
read: what is left between a head's output and the logit is linear, whatever norms, multipliers and soft caps the family puts
there. Its gradient gives what every part adds. All parts, embeddings, heads, MLPs and biases, must then add up to the logit:
where they do not, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import Withheld
from core.transformer.anatomy import is_linear, is_norm
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import Body, check_rows, run_body
from core.transformer.passes.norms import Norm
from core.transformer.passes.readout import centred_logits, less_the_mean, logit_multiplier, logits_from, mean_row
from core.transformer.passes.weights import norm_of, unembedding

# Share of the logits' size by which the parts may miss the whole, by rounding.
TOLERANCE = 1e-4


@dataclass
class _Parts:
    """What was seen of the pass: each head's `z`, and everything else that adds."""

    z: dict[int, Tensor] = field(default_factory=dict)
    others: list[Tensor] = field(default_factory=list)
    # Outputs whose constant part (a bias) adds, with that constant.
    constants: list[tuple[Tensor, Tensor]] = field(default_factory=list)


class DirectEffects:
    """What each head adds directly to the right token's logit over the mean token's, before any soft cap, in logits.

    Read off a clean pass that is made anyway, which it leaves as it is to the bit (`Through`): a pass of its own would cost as
    much again, for a hundredth of it in gradients.
    """

    def __init__(self, model: LoadedModel, targets: Int[np.ndarray, " targets"]) -> None:
        self._model, self._targets = model, torch.from_numpy(np.array(targets))
        self._parts: list[dict[int, Tensor]] = []
        self._withheld = ""

    def __call__(self, tokens: Int[Tensor, "batch tokens"], module: nn.Module, run: Callable[[], Body]) -> Body:
        """The clean pass over `tokens`, followed unless that failed before."""
        if not self._withheld:
            try:
                found, _, body = _followed(self._model, module, tokens, self._targets, run)
                self._parts.append(found)
                return body
            except Withheld as error:
                # Its words alone: the error itself would hold the whole graph.
                self._withheld = str(error)
        with torch.no_grad():
            return run()

    @property
    def found(self) -> Float[np.ndarray, "n_layers n_heads sequences"]:
        """Means over the targets, for each sequence of all passes in their order; NaN for heads that there are not.

        Raises Withheld, with the reason, where the parts do not add up to the logit.
        """
        if self._withheld:
            raise Withheld(self._withheld)
        card = self._model.card
        sequences = sum(len(next(iter(part.values()))) for part in self._parts)
        effects = np.full((card.n_layers, card.n_heads, sequences), np.nan)
        for layer in self._model.anatomy.attention:
            added = torch.cat([part[layer] for part in self._parts])
            effects[layer, : added.shape[1]] = added.T.cpu().numpy()
        return effects


def attributed(
    model: LoadedModel, tokens: Int[Tensor, "batch tokens"], targets: Int[Tensor, " targets"]
) -> tuple[dict[int, Float[Tensor, "batch _heads"]], float]:
    """Each head's direct effect by layer, the mean over `targets`, and by how much all parts miss the logit (its share).

    Raises Withheld where that share is above the tolerance, or the path cannot be followed.
    """
    found, missed, _ = _followed(model, model.module, tokens, targets, lambda: run_body(model, tokens))
    return found, missed


def _followed(
    model: LoadedModel,
    module: nn.Module,
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
    run: Callable[[], Body],
) -> tuple[dict[int, Float[Tensor, "batch _heads"]], float, Body]:
    """`attributed` in the pass over `module` that `run` makes, and that pass, without its graph."""
    # Before anything is watched: it makes passes of its own.
    check_rows(model, module, tokens)
    parts, direction = _Parts(), _direction(model, tokens[:, targets.to(tokens.device)])
    with model.lock, ExitStack() as stack:
        try:
            _prepare(model, module, parts, stack)
            with torch.enable_grad():
                body = run()
        except (RuntimeError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise Withheld(f"What a head adds to the logit cannot be followed through {model.card.name}.") from error
        end = body.final.detach()
        with torch.enable_grad():
            final = body.final[:, (targets - 1).to(end.device)].float()
            logit = (final * direction).sum(-1)
            leaves = [*parts.z.values(), *parts.others, *(output for output, _ in parts.constants)]
            if not logit.requires_grad:
                raise Withheld(f"What a head adds to the logit cannot be followed through {model.card.name}.")
            gradients = torch.autograd.grad(logit.sum(), leaves, allow_unused=True)
    count = len(parts.z)
    found = {}
    for (layer, z), gradient in zip(parts.z.items(), gradients[:count], strict=True):
        slope = torch.zeros_like(z) if gradient is None else gradient
        found[layer] = (z.detach().float() * slope.float()).sum(-1)
    total = sum((added.sum((1, 2)) for added in found.values()), torch.zeros(len(tokens), device=final.device))
    values = [*parts.others, *(constant for _, constant in parts.constants)]
    for value, gradient in zip(values, gradients[count:], strict=True):
        if gradient is not None:
            # Some families flatten sequences and positions into one axis.
            total = total + (value.detach().float() * gradient.float()).reshape(len(tokens), -1).sum(1)
    # The model's own, not what our direction makes of its end: a multiplier that is forgotten must show.
    whole = _own_logits(model, end, tokens, targets)
    size = float(whole.abs().sum(-1).max().clamp_min(1e-6))
    missed = float((total - whole.sum(-1)).abs().max()) / size
    loose = TOLERANCE if model.dtype == torch.float32 else 2e-2
    if not missed <= loose:
        raise Withheld(f"The parts of {model.card.name} do not add up to its logits (they miss {100 * missed:.2g} %).")
    means = {layer: added.sum(1) / len(targets) for layer, added in found.items()}
    return means, missed, Body(end, tuple(stream.detach() for stream in body.inputs), body.calls)


@torch.no_grad()
def _own_logits(
    model: LoadedModel,
    final: Float[Tensor, "batch tokens d_unembedded"],
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
) -> Float[Tensor, "batch targets"]:
    """The right tokens' logits less the mean over the vocabulary, without the unembedding's bias, which no part writes."""
    bias = logits_from(model, torch.zeros_like(final[0, :1]), capped=False)[0]
    right = tokens[:, targets.to(tokens.device)].to(bias.device)
    return centred_logits(model, final, tokens, targets) - less_the_mean(bias, right)


def _direction(model: LoadedModel, right: Int[Tensor, "batch targets"]) -> Float[Tensor, "batch targets d_model"]:
    matrix = unembedding(model)
    wanted = matrix.T[right.to(matrix.device)] - mean_row(model, matrix.T)
    return wanted * logit_multiplier(model)


def _prepare(model: LoadedModel, module: nn.Module, parts: _Parts, stack: ExitStack) -> None:
    """Hang on the module what makes its one path linear: everything else is held at its value."""
    anatomy = model.anatomy

    def put(handle: Any) -> None:
        stack.callback(handle.remove)

    put(module.get_submodule(anatomy.blocks[0]).register_forward_pre_hook(_leaf_input(parts), with_kwargs=True))
    for layer, attention in anatomy.attention.items():
        projection = module.get_submodule(attention.projection)
        _check_slices(model, projection, attention.n_heads, attention.d_head)
        put(projection.register_forward_pre_hook(_leaf_z(parts, layer, attention.n_heads, attention.d_head)))
        bias = projection(torch.zeros(1, 1, attention.n_heads * attention.d_head, device=model.device, dtype=model.dtype))
        put(projection.register_forward_hook(_constant(parts, bias.detach())))
    names = {attention.name for attention in anatomy.attention.values()}
    for block in anatomy.blocks:
        _follow(model, module, block, names, parts, put)
    for name in anatomy.ending:
        part = module.get_submodule(name)
        if is_linear(part):
            constant = part(torch.zeros(1, 1, anatomy.d_model, device=model.device, dtype=model.dtype)).detach()
            put(part.register_forward_hook(_constant(parts, constant)))
        else:
            put(part.register_forward_hook(_frozen(parts, norm_of(model, name))))


def _check_slices(model: LoadedModel, projection: nn.Module, n_heads: int, d_head: int) -> None:
    """Raises Withheld where what a head adds through `projection` is not what following it says.

    A projection that rounds what it reads passes nothing on but its scale: one head gets what all of them add, and all parts
    add up to the logit all the same. So each head's slice is taken away alone, from random ones.
    """
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 1, n_heads, d_head, generator=draw).to(model.device, model.dtype)
    without = rows * (1 - torch.eye(n_heads, device=model.device, dtype=model.dtype))[:, None, :, None]
    with torch.enable_grad():
        read = _leaf(rows)
        written = projection(read.reshape(1, 1, -1)).float()
        weights = torch.randn(written.shape[-1], generator=draw).to(model.device)
        (slope,) = torch.autograd.grad((written * weights).sum(), read, allow_unused=True)
    with torch.no_grad():
        lost = ((written - projection(without.reshape(n_heads, 1, -1)).float()) * weights).sum((1, 2))
    followed = torch.zeros_like(lost) if slope is None else (rows.float() * slope.float()).sum((0, 1, 3))
    loose = 1e-3 if model.dtype == torch.float32 else 1e-1
    if not float((followed - lost).abs().max()) <= loose * float(lost.abs().max().clamp_min(1e-6)):
        raise Withheld(f"What a head of {model.card.name} adds cannot be told apart: its output projections are not linear.")


def _follow(
    model: LoadedModel, module: nn.Module, name: str, attention: set[str], parts: _Parts, put: Callable[[Any], None]
) -> None:
    for child, part in module.get_submodule(name).named_children():
        whole = f"{name}.{child}"
        if whole in attention or isinstance(part, (nn.Dropout, nn.Identity)):
            continue
        if any(other.startswith(f"{whole}.") for other in attention):
            _follow(model, module, whole, attention, parts, put)
        elif is_norm(part):
            put(part.register_forward_hook(_frozen(parts, norm_of(model, whole))))
        else:
            put(part.register_forward_hook(_leaf_output(parts), with_kwargs=True))


class _ValueOf(torch.autograd.Function):
    """The second to the bit, with the gradient of the first: rounding in a frozen norm must not move the pass."""

    @staticmethod
    def forward(context: Any, followed: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_(True)


def _leaf_input(parts: _Parts) -> Callable[..., Any]:
    def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        leaf = _leaf(arguments[0] if arguments else keywords["hidden_states"])
        parts.others.append(leaf)
        value = leaf.clone()
        return ((value, *arguments[1:]), keywords) if arguments else (arguments, keywords | {"hidden_states": value})

    return hook


def _leaf_z(parts: _Parts, layer: int, n_heads: int, d_head: int) -> Callable[..., Any]:
    def hook(module: nn.Module, arguments: tuple[Any, ...]) -> Any:
        given = arguments[0]
        z = _leaf(given.reshape(*given.shape[:2], n_heads, d_head))
        parts.z[layer] = z
        return (z.reshape(given.shape), *arguments[1:])

    return hook


def _leaf_output(parts: _Parts) -> Callable[..., Any]:
    def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        if not isinstance(first, Tensor) or not first.is_floating_point() or first.ndim not in (2, 3):
            return None
        followed = [given for given in (*arguments, *keywords.values()) if isinstance(given, Tensor) and given.requires_grad]
        if len(followed) > 1:
            # Held as a whole it would hold the stream, too, and all parts would still add up.
            raise Withheld(
                "A part of this model reads the residual stream and adds to it by itself, so it cannot be held apart."
            )
        parts.others.append(_leaf(first))
        # A copy: some families add to it in place.
        value = parts.others[-1].clone()
        return (value, *output[1:]) if isinstance(output, tuple) else value

    return hook


def _constant(parts: _Parts, constant: Tensor) -> Callable[..., Any]:
    def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
        parts.constants.append((output, constant.expand_as(output)))

    return hook


def _frozen(parts: _Parts, norm: Norm) -> Callable[..., Any]:
    def hook(module: nn.Module, arguments: Any, output: Tensor) -> Tensor | None:
        given = arguments[0]
        if not given.requires_grad:
            return None
        frozen = norm.frozen(given.float(), output.float()).to(output.dtype)
        parts.constants.append((frozen, norm.bias.to(output.dtype).expand_as(output)))
        passed: Tensor = _ValueOf.apply(frozen, output)  # type: ignore[no-untyped-call]
        return passed

    return hook
