"""Does a model hold what its numbers rest on: tried on the model at hand, at the length used, before they are believed.

The oracle is the model library's own module, run eagerly. What a check does not pass is not measured another way in silence:
what rests on it is withheld, with the reason.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from core.errors import BadInput, ModelUnavailable
from core.transformer.anatomy import causal_tolerance, run_module, trial_ids
from core.transformer.card import ModelIdentity
from core.transformer.checks import Check, Conformance
from core.transformer.loaded import LoadedModel
from core.transformer.passes.beside import rows_at_first
from core.transformer.passes.fused import agreement, cell_tolerance
from core.transformer.passes.hooks import Hook, check_finite, hooks_attached, pattern_hook, run_body, untouched, z_hook
from core.transformer.passes.readout import check_readout, logits_from
from core.transformer.passes.shown import check_shown
from core.transformer.passes.trials import end_tolerance
from core.transformer.said import said

# Whether parts add up is tried again wherever they are read, on what they are read from.
SHORT = 32

_KNOWN: weakref.WeakKeyDictionary[LoadedModel, dict[tuple[int, int], Conformance]] = weakref.WeakKeyDictionary()


def conform(
    model: LoadedModel, length: int, bos_tokens: int, parts: Callable[[LoadedModel, Tensor, Tensor], float]
) -> Conformance:
    """Every check of a model at a length but that of its tokenizer (`bos_check`); made once for each model and length.

    parts: by how much all parts miss the logit, on ids and targets (`core.verdicts.attribution`); it raises BadInput, with the
    reason, where that cannot be said.
    """
    known = _KNOWN.setdefault(model, {})
    if (length, bos_tokens) not in known:
        known[length, bos_tokens] = _conform(model, length, bos_tokens, parts)
    return known[length, bos_tokens]


def _conform(
    model: LoadedModel, length: int, bos_tokens: int, parts: Callable[[LoadedModel, Tensor, Tensor], float]
) -> Conformance:
    n_tokens = bos_tokens + 2 * length
    tokens = trial_ids(model.card.d_vocab, 1, n_tokens).to(model.device)
    # What is missing or left over was refused at the load.
    with torch.no_grad():
        final = run_body(model, tokens, makes_way=True).final
    checks = [Check("complete", True, 0.0, 0.0), _finite(model, tokens, final)]
    if checks[-1].passed:
        ablation = _ablation(model, tokens)
        if model.given is not None or not ablation.passed:
            # The same two passes end apart where the logits are not what is read off, whatever is taken away.
            checks[0] = _complete(model, tokens, final)
        checks += [_causal(model, tokens, final), _patterns(model, n_tokens), ablation]
        checks.append(_parts(model, tokens[:, :SHORT], parts))
    return Conformance(length, tuple(checks))


_TRIED: weakref.WeakKeyDictionary[LoadedModel, set[int]] = weakref.WeakKeyDictionary()


def check_at(model: LoadedModel, n_tokens: int) -> None:
    """What every number of sequences of `n_tokens` rests on; tried once for each model and length.

    Raises ModelUnavailable, with the reason, where no number could be shown.
    """
    tried = _TRIED.setdefault(model, set())
    if n_tokens in tried or n_tokens < 2:
        return
    tokens = trial_ids(model.card.d_vocab, 1, n_tokens).to(model.device)
    with torch.no_grad(), untouched():
        try:
            final = run_body(model, tokens).final
        except (IndexError, ValueError, AssertionError) as error:
            # A table of positions that is shorter than the config says, or than is taken for a context that it does not say.
            reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
            raise ModelUnavailable(f"{model.card.name} cannot be run on {n_tokens} tokens: {reason}.") from error
        checks = [_finite(model, tokens, final)]
        if checks[0].passed:
            checks += [_complete(model, tokens, final), _causal(model, tokens, final)]
        if checks[0].passed:
            # Another pattern than the softmax's may begin only beyond the few tokens on which that was tried first.
            check_shown(model, n_tokens)
    if refused := Conformance(n_tokens // 2, tuple(checks)).refused:
        raise ModelUnavailable(refused)
    tried.add(n_tokens)


def _apart(found: Tensor, own: Tensor) -> float:
    """The largest difference of logits, as a share of the largest, of the tokens that the model may say."""
    may_be = said(own)
    found, own = found[..., may_be], own[..., may_be]
    return float((found - own).abs().max() / own.abs().max().clamp_min(1e-9))


@torch.no_grad()
def _complete(model: LoadedModel, tokens: Tensor, final: Tensor) -> Check:
    """Whether the logits at this length are read off as at the few tokens on which that was found (`check_readout`)."""
    with model.lock:
        own = run_module(model.module, tokens).float()
    loose = end_tolerance(model)
    worst = _apart(logits_from(model, final), own)
    if worst > loose:
        reason = "its logits are not those of its unembedding, times one number, on so many tokens"
        return Check("complete", False, worst, loose, reason)
    return Check("complete", True, worst, loose) if model.given is None else _as_given(model, tokens, own)


def _as_given(model: LoadedModel, tokens: Tensor, own: Tensor) -> Check:
    """Whether a model that was handed over computes with attention that shows its patterns what it computed before.

    And whether it says of a row among others, the last of some, what it says of the row alone.
    """
    loose, rounded = end_tolerance(model), max(end_tolerance(model), causal_tolerance(model.module))
    with model.lock:
        try:
            given = _apart(run_module(model.given, tokens).float(), own)
        except Exception:  # what cannot be run here as it was handed over computes nothing else
            given = 0.0
    rows = trial_ids(model.card.d_vocab, rows_at_first(tokens.shape[1]), tokens.shape[1])
    one, other = (run_body(model, each.to(model.device)).final[-1].float() for each in (tokens, rows.flip(0)))
    beside = float((one - other).abs().max() / one.abs().max().clamp_min(1e-9))
    if given > rounded:
        reason = "with attention that shows its patterns (`eager`) it computes something else than as it was handed over"
    else:
        reason = "" if beside <= loose else "what it says of a row depends on those that are read beside it"
    return Check("complete", not reason, max(given, beside), loose, reason)


@torch.no_grad()
def _finite(model: LoadedModel, tokens: Tensor, final: Tensor) -> Check:
    try:
        check_finite(model, final, tokens)
        check_readout(model)
    except ModelUnavailable as error:
        return Check("finite", False, None, None, str(error))
    return Check("finite", True, 0.0, 0.0)


@torch.no_grad()
def _causal(model: LoadedModel, tokens: Tensor, final: Tensor) -> Check:
    n_tokens = tokens.shape[1]
    cuts = sorted({cut for cut in (3, n_tokens // 2, n_tokens - 1) if 0 < cut < n_tokens})
    rows = tokens.repeat(len(cuts), 1)
    for row, cut in enumerate(cuts):
        rows[row, cut:] = (rows[row, cut:] + 1) % model.card.d_vocab
    found = run_body(model, rows, makes_way=True).final
    missed = [float((found[row, :cut].float() - final[0, :cut].float()).abs().max()) for row, cut in enumerate(cuts)]
    worst = max(missed, default=0.0) / max(float(final.float().abs().max()), 1e-9)
    loose = causal_tolerance(model.module)
    return Check("causal", worst <= loose, worst, loose, "" if worst <= loose else "other later tokens change earlier logits")


def _patterns(model: LoadedModel, n_tokens: int) -> Check:
    if model.bare is None or hooks_attached():
        return Check("patterns", True, 0.0, cell_tolerance(model), "the eager module itself is read")
    found = agreement(model, n_tokens)
    reason = "" if found.agrees else f"{found.reason or 'the cells differ'}; the eager module is read instead"
    return Check("patterns", found.agrees, found.worst, cell_tolerance(model), reason)


@torch.no_grad()
def _ablation(model: LoadedModel, tokens: Tensor) -> Check:
    """Two heads taken away by the hook, beside the output projection's own input with their slice set to zero by hand."""
    layer, part = next(iter(model.anatomy.attention.items()))
    lost = sorted({0, part.n_heads - 1})

    def without(z: Tensor) -> Tensor:
        changed = z.clone()
        changed[:, :, lost] = 0
        return changed

    def sliced(projection: torch.nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        changed = given[0].clone()
        for head in lost:
            changed[..., head * part.d_head : (head + 1) * part.d_head] = 0
        return (changed,)

    place = model.bare if model.bare is not None and agreement(model, tokens.shape[1]).agrees else model.module
    ours = logits_from(model, run_body(model, tokens, [(z_hook(layer), without)], module=place).final)
    with model.lock:
        handle = model.module.get_submodule(part.projection).register_forward_pre_hook(sliced)
        try:
            own = run_module(model.module, tokens).float()
        finally:
            handle.remove()
    loose = end_tolerance(model)
    worst = _apart(ours, own)
    if worst > loose:
        return Check("ablation", False, worst, loose, "removal is not what the projection shows")
    past = _past_its_slice(model)
    return past if not past.passed else Check("ablation", True, max(worst, past.worst or 0.0), loose)


def check_removal(model: LoadedModel) -> None:
    """Raises BadInput for a model of which no head can be taken away whole; tried once for each model."""
    found = _past_its_slice(model)
    if not found.passed:
        raise BadInput(f"Effects of removal are withheld for {model.card.name}: {found.reason}.")


_PAST: weakref.WeakKeyDictionary[LoadedModel, Check] = weakref.WeakKeyDictionary()


def _past_its_slice(model: LoadedModel) -> Check:
    if model not in _PAST:
        with torch.no_grad():
            _PAST[model] = _blinded(model, trial_ids(model.card.d_vocab, 1, min(SHORT, model.card.n_ctx)).to(model.device))
    return _PAST[model]


def _blinded(model: LoadedModel, tokens: Tensor) -> Check:
    """In every layer, one head that attends to nothing: its slice is then zero, and nothing else of it reaches the stream.

    What is put beside or in front of an output projection (an adapter, a second projection) reads a head past its slice: then a
    removal would leave a part of the head behind. Nothing is said where patterns are shown too late to be changed.
    """
    parts, loose = model.anatomy.attention, end_tolerance(model)
    without: dict[int, Tensor] = {}

    def blind(layer: int, heads: list[int]) -> Hook:
        def change(pattern: Tensor) -> Tensor:
            changed = pattern.clone()
            changed[:, heads] = 0
            return changed

        return pattern_hook(layer), change

    def keep(layer: int) -> Hook:
        def see(z: Tensor) -> None:
            without[layer] = z.clone()

        return z_hook(layer), see

    first = next(iter(parts))
    run_body(model, tokens, [keep(first)])
    as_it_is = without[first]
    run_body(model, tokens, [blind(first, list(range(parts[first].n_heads))), keep(first)])
    if torch.equal(without[first], as_it_is):
        return Check("ablation", True, None, loose)
    remains = float(without[first].abs().max() / as_it_is.abs().max().clamp_min(1e-9))
    if remains > loose:
        return Check("ablation", False, remains, loose, "what its output projection reads is not its heads' outputs alone")
    lost = {layer: layer % part.n_heads for layer, part in parts.items()}
    hooks = [hook for layer, head in lost.items() for hook in (blind(layer, [head]), keep(layer))]
    one = run_body(model, tokens, hooks).final.float()
    left = max(float(without[layer][:, :, head].abs().max()) for layer, head in lost.items())
    two = run_body(model, tokens, [(z_hook(layer), partial(_instead, z)) for layer, z in without.items()]).final.float()
    beside = float((one - two).abs().max() / one.abs().max().clamp_min(1e-9))
    worst = max(left, beside)
    return Check("ablation", worst <= loose, worst, loose, "" if worst <= loose else "a head reaches the stream past its slice")


def _instead(value: Tensor, z: Tensor) -> Tensor:
    return value


def _parts(model: LoadedModel, tokens: Tensor, parts: Callable[[LoadedModel, Tensor, Tensor], float]) -> Check:
    loose = 1e-4 if model.dtype == torch.float32 else 2e-2
    try:
        return Check("parts", True, parts(model, tokens, torch.arange(1, tokens.shape[1])), loose)
    except BadInput as error:
        return Check("parts", False, None, loose, str(error))


def bos_check(identity: ModelIdentity) -> Check:
    """Whether a probe begins with what the tokenizer puts in front of a text; of the tokenizer, not of the weights."""
    if identity.tokenizer is None:
        return Check("bos", True, None, None, "there is no tokenizer to compare with")
    front = identity.tokenizer.put_in_front()
    if front == ([identity.bos_token_id] if identity.prepends_bos else []):
        return Check("bos", True, None, None)
    begins = " ".join(identity.tokenizer.text(token_id) for token_id in front)
    ours = "nothing" if identity.bos_token_id is None else identity.tokenizer.text(identity.bos_token_id)
    habit = f"{ours} alone, where they begin with a BOS" if identity.prepends_bos else "nothing, unless a BOS is asked for"
    return Check("bos", False, None, None, f"Its tokenizer begins every text with {begins}, and probes begin with {habit}.")
