"""A head's weights as they act on the residual stream, found by what its modules do, not by what they are called.

A row of one token at position 0 is not turned by rotary positions, so queries, keys and values of the basis vectors are the
rows of `W_Q`, `W_K`, `W_V`; where these are not linear (norms of queries and keys) they have no matrix, and none is given.
A norm enters through its gain and, for LayerNorm, the centring; the positive scale that depends on the token is left out.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import Withheld
from core.transformer.anatomy import is_linear
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused_attention import NotFused, Seen, each_layer
from core.transformer.passes.hooks import for_batch, run_body
from core.transformer.passes.norms import Norm, norm_as_it_acts

# Basis vectors are tried beside this many times their size: what is not linear shows.
TWICE = 2.0
_Call = tuple[tuple[Any, ...], dict[str, Any]]
_CALLS: weakref.WeakKeyDictionary[LoadedModel, dict[int, _Call]] = weakref.WeakKeyDictionary()
_MATRICES: weakref.WeakKeyDictionary[LoadedModel, dict[int, tuple[Tensor, ...]]] = weakref.WeakKeyDictionary()
_NORMS: weakref.WeakKeyDictionary[LoadedModel, dict[str, Norm]] = weakref.WeakKeyDictionary()


def query_and_key(
    model: LoadedModel, layer: int, head: int
) -> tuple[Float[Tensor, "d_model _d_head"], Float[Tensor, "d_model _d_head"]]:
    """A query head's own `W_Q`, and its `W_K`, which it may share with its group.

    Raises Withheld where the attention has no such matrices: norms of queries and keys, latent attention, no fast twin.
    """
    queries, keys, _ = _projections(model, layer)
    if queries.numel() == 0 or queries.shape[-1] != keys.shape[-1]:
        raise _withheld(model, "its queries and keys are no linear maps of what its attention reads")
    return queries[:, head], keys[:, head]


def values_and_outputs(
    model: LoadedModel, layer: int
) -> tuple[Float[Tensor, "d_model n_heads _d_head"], Float[Tensor, "n_heads _d_head d_model"]]:
    """Every head's `W_V`, which it may share with its group, and its own `W_O`; raises Withheld where there are none."""
    _, _, values = _projections(model, layer)
    if values.numel() == 0:
        raise _withheld(model, "its values are no linear map of what its attention reads")
    return values, output_matrix(model, layer)


def output_matrix(model: LoadedModel, layer: int) -> Float[Tensor, "n_heads _d_head d_model"]:
    """`W_O` of every head of a layer: the output projection on the basis vectors."""
    part = model.anatomy.attention[layer]
    width = part.n_heads * part.d_head
    projection = model.module.get_submodule(part.projection)
    with torch.no_grad(), model.lock:
        basis = torch.eye(width, device=model.device, dtype=model.dtype)[None]
        found: Tensor = projection(basis)[0].float() - projection(torch.zeros_like(basis[:, :1]))[0].float()
    return found.view(part.n_heads, part.d_head, -1)


def reads(model: LoadedModel, layer: int, matrix: Float[Tensor, "d_model columns"]) -> Float[Tensor, "d_model columns"]:
    """`matrix`, which reads a layer's normed input, as it reads the residual stream itself."""
    name = model.anatomy.attention[layer].input_norm
    return matrix if name is None else _through(norm_of(model, name), matrix)


def unembedding(model: LoadedModel, tokens: Int[Tensor, " columns"] | None = None) -> Float[Tensor, "d_model columns"]:
    """`W_U`, after the final norm: the unembedding without its bias, of `tokens` or of the whole vocabulary.

    Raises Withheld where it shows no matrix of numbers.
    """
    place = model.module.get_submodule(model.anatomy.unembedding)
    weight = getattr(place, "weight", None)
    if isinstance(weight, Tensor) and weight.is_floating_point() and weight.shape[0] == model.card.d_vocab:
        return (weight if tokens is None else weight[tokens.to(weight.device)]).float().T
    raise _withheld(model, "its unembedding shows no matrix of numbers")


def read_by_logits(model: LoadedModel, tokens: Int[Tensor, " columns"]) -> Float[Tensor, "d_model columns"]:
    """`W_U` of some tokens as it reads the residual stream: through what is linear in the final norm."""
    matrix = unembedding(model, tokens)
    for name in reversed(model.anatomy.ending):
        part = model.module.get_submodule(name)
        matrix = part.weight.float().T @ matrix if is_linear(part) else _through(norm_of(model, name), matrix)
    return matrix


def norm_of(model: LoadedModel, name: str) -> Norm:
    """A norm of the model as it acts; raises Withheld where the module is something else."""
    known = _NORMS.setdefault(model, {})
    if name not in known:
        try:
            with model.lock:
                known[name] = norm_as_it_acts(model.module.get_submodule(name), model.anatomy.d_model, model.device)
        except (ValueError, RuntimeError, TypeError) as error:
            odd = model.anatomy.d_model % 2 and "odd width" in str(error)
            why = "is of an odd width, at which its scale cannot be read" if odd else "is not a norm of a known kind"
            raise _withheld(model, f"its {name} {why}") from error
    return known[name]


def _through(norm: Norm, matrix: Float[Tensor, "d_model columns"]) -> Float[Tensor, "d_model columns"]:
    scaled = norm.gain[:, None] * matrix
    return scaled - scaled.mean(0, keepdim=True) if norm.centred else scaled


def _withheld(model: LoadedModel, why: str) -> Withheld:
    return Withheld(f"Nothing is said of the weights of {model.card.name}: {why}.")


def _projections(model: LoadedModel, layer: int) -> tuple[Tensor, ...]:
    """`W_Q`, `W_K`, `W_V` as `[d_model, n_heads, d_head]`, each empty where it is no matrix."""
    known = _MATRICES.setdefault(model, {})
    if layer not in known:
        if model.bare is None or layer not in model.anatomy.attention:
            raise _withheld(model, "its attention does not show queries, keys and values")
        known.clear()  # one layer at a time: all of them would be the model once more
        try:
            known[layer] = _probed(model, layer)
        except (NotFused, RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise _withheld(model, "its attention does not show queries, keys and values") from error
    return known[layer]


@torch.no_grad()
def _probed(model: LoadedModel, layer: int) -> tuple[Tensor, ...]:
    place = model.bare.get_submodule(model.anatomy.attention[layer].name)
    with model.lock:
        arguments, keywords = _calls(model)[layer]
        rows_of = partial(for_batch, batch=1 + 2 * model.anatomy.d_model)
        arguments = tuple(map(rows_of, arguments))
        keywords = {name: rows_of(value) for name, value in keywords.items()}
        basis = torch.eye(model.anatomy.d_model, device=model.device, dtype=model.dtype)[:, None]
        rows = torch.cat([torch.zeros_like(basis[:1]), basis, TWICE * basis])
        seen: list[Seen] = []
        with each_layer(seen.append):
            if "hidden_states" in keywords:
                place(*arguments, **(keywords | {"hidden_states": rows}))
            else:
                place(rows, *arguments[1:], **keywords)
    return tuple(_matrix(getattr(seen[0], name)[:, :, 0].float()) for name in ("query", "key", "value"))


def _calls(model: LoadedModel) -> dict[int, _Call]:
    """How every layer's attention is called on a row of one token; one pass for all of them."""
    if model not in _CALLS:
        found: dict[int, _Call] = {}

        def keeping(layer: int) -> Any:
            def keep(module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
                found[layer] = arguments, keywords

            return keep

        places = {layer: model.bare.get_submodule(part.name) for layer, part in model.anatomy.attention.items()}
        with ExitStack() as stack:
            for layer, place in places.items():
                stack.callback(place.register_forward_pre_hook(keeping(layer), with_kwargs=True).remove)
            run_body(model, torch.zeros(1, 1, dtype=torch.long), module=model.bare)
        _CALLS[model] = found
    return _CALLS[model]


def _matrix(answers: Float[Tensor, "rows n_heads _d_head"]) -> Tensor:
    count = (len(answers) - 1) // 2
    once, twice = answers[1 : 1 + count] - answers[:1], answers[1 + count :] - answers[:1]
    loose = 1e-3 * float(once.abs().max())
    return once if torch.allclose(twice, TWICE * once, atol=loose, rtol=0) else torch.empty(0)
