"""Ablation: what the loss becomes when heads are taken away.

On `z`, per query head, before `W_O`: zeroing a slice of the attention *output* would ablate no head at all. What stands
in for a head's `z`:

- `zero`: nothing.
- `mean`: its mean over a reference set for each position. The reference must not have the structure under test: a mean over
  repeated sequences keeps what an induction head does, so it is taken over sequences whose second half is fresh.
- `resample`: its own `z` on another sequence of the probe (a derangement: never its own).
- `pattern`: pattern-preserving (Olsson et al. 2022): every attention pattern is held at its clean value and the head's
  output is zeroed, so only what flows through values is lost. Blind to previous-token heads by construction.

Weights are the model's own, never folded: folding `b_V` into `b_O` would leave a part of the head behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.ablation.reference import ReferenceMeans
from core.errors import BadInput
from core.heads import Head, HeadSet
from core.runtime.jobs import current_control
from core.runtime.made_once import made_once
from core.settings.modes import MODES, Mode
from core.transformer.conformance import check_removal
from core.transformer.flops import flops_of_layer, flops_of_readout
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import (
    even_passes,
    rows_in_memory,
    rows_per_pass,
    runs_side_by_side,
    tokens_per_pass,
)
from core.transformer.passes.blocks import Blocks, LayerEdit, Through
from core.transformer.passes.fused import Engine, first_half, way_of
from core.transformer.passes.hooks import Body, Hidden, can_resume
from core.transformer.passes.prefix import Prefix
from core.transformer.passes.readout import centred_logits, token_losses

# Sequences of more than so many times that are taken some at a time: no step of a layer is longer.
LONGEST_STEP = 4
# Residual streams of different head sets that may wait side by side for their next layer, in bytes.
WAITING_STREAMS = 1 << 28
# The clean run, from which every set branches off at its first head.
CLEAN = -1


class Ablator:
    """One model on one set of sequences, ready to try many head sets.

    The clean pass is made once. Sets are run side by side, layer by layer: each branches off in its first layer, and sets
    that agree so far share one run. Thread-safe: hooks, where they are needed, hold the model's lock and are removed
    whatever happens.
    """

    def __init__(
        self,
        model: LoadedModel,
        tokens: np.ndarray,
        reference: np.ndarray | ReferenceMeans | None = None,
        *,
        seed: int = 0,
        mean_over_positions: bool = False,
        engine: Engine | None = None,
        keep_first_half: bool = False,
        through: Through | None = None,
    ) -> None:
        """`tokens` `[sequences, tokens]`; `reference`, for mode `mean`, has rows of the same length, or longer ones that serve.

        With `mean_over_positions` the mean is over the reference's positions too, and its rows may have any length.
        engine: as for `measure_heads`; by default the fast one where it was found to agree with the other.
        keep_first_half: whether the clean pass keeps what `centred_logit_after` needs, so that it need not begin anew.
        through: as for `Blocks`.

        Raises ModelUnavailable if memory does not suffice, BadInput for a model of which no head can be taken away whole.
        """
        check_removal(model)
        self.model = model
        self.tokens = torch.from_numpy(np.array(tokens))
        self._seed = seed
        self._replacements: dict[Mode, dict[int, Tensor]] = {}
        sequences, n_tokens = self.tokens.shape
        way = way_of(model, n_tokens, engine)
        self._nodes_per_pass = runs_side_by_side(model, sequences, n_tokens, patterns=way.patterns)
        by_time = LONGEST_STEP * tokens_per_pass(model) // n_tokens
        self._rows_per_pass = max(1, min(by_time, rows_in_memory(model, n_tokens, patterns=way.patterns)))
        if isinstance(reference, np.ndarray):
            reference = ReferenceMeans(model, reference, over_positions=mean_over_positions, engine=way.engine)
        self._reference = reference
        self._first_half = Prefix(first_half(n_tokens)) if keep_first_half and way.continues else None
        self._blocks = Blocks(model, self.tokens, way.engine, self._first_half, through=through)

    @made_once
    def clean(self) -> Float[np.ndarray, "sequences tokens"]:
        """The untouched model's loss of every token, in nats; NaN at position 0."""
        return self._losses(self._blocks.body.final, None)

    @property
    def body(self) -> Body:
        """The untouched pass: each block's input, and how it was called."""
        return self._blocks.body

    @property
    def engine(self) -> Engine:
        """Which way blocks are run."""
        return self._blocks.engine

    @property
    def goes_on(self) -> bool:
        """Whether blocks can be run one by one on these tokens."""
        return can_resume(self.model) and self._blocks.goes_on

    @torch.no_grad()
    def token_loss(
        self,
        sets: Sequence[HeadSet],
        mode: Mode,
        on_share: Callable[[float], None] | None = None,
        *,
        targets: Int[np.ndarray, " targets"] | None = None,
        apart: bool = False,
    ) -> Float[np.ndarray, "sets sequences targets"]:
        """The loss in nats of the tokens at `targets`, or of every token, with each of `sets` ablated.

        An empty set gives the clean loss; without `targets` position 0 is NaN, for nothing predicts it. `on_share` is told
        the share done, after every pass. With `apart` no two sets are in one pass, so a set's bits do not depend on its
        company: a matrix product may round differently with more rows. Raises BadInput for a mode that is unknown or that
        these sequences or this architecture cannot have.
        """
        wanted = None if targets is None else torch.from_numpy(np.array(targets))
        clean = self.clean if targets is None else self.clean[:, targets]
        return self._read(sets, mode, clean, partial(self._losses, targets=wanted), on_share, apart=apart)

    @torch.no_grad()
    def centred_logit(
        self,
        sets: Sequence[HeadSet],
        mode: Mode,
        targets: Int[np.ndarray, " targets"],
        on_share: Callable[[float], None] | None = None,
    ) -> Float[np.ndarray, "sets sequences targets"]:
        """The logit of the token at each of `targets` less the mean over the vocabulary, with each of `sets` ablated.

        An empty set gives the untouched model's. Everything else as for `token_loss`.
        """
        read = partial(self._centred, targets=torch.from_numpy(np.array(targets)))
        return self._read(sets, mode, read(self._blocks.body.final), read, on_share, apart=True)

    @torch.no_grad()
    def at_the_end(
        self,
        sets: Sequence[HeadSet],
        mode: Mode,
        read: Callable[[Hidden], np.ndarray],
        on_share: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """What `read` makes of the unembedding's input of all sequences, with each of `sets` ablated; `[sets, sequences, ...]`.

        An empty set gives the untouched model's. Everything else as for `token_loss`.
        """
        return self._read(sets, mode, read(self._blocks.body.final), read, on_share, apart=True)

    @torch.no_grad()
    def centred_logit_after(
        self, tokens: Int[np.ndarray, "sequences tokens"], targets: Int[np.ndarray, " targets"]
    ) -> Float[np.ndarray, "sequences targets"]:
        """The same of the untouched model on other `tokens`, whose first halves are those of this ablator's; targets beyond.

        Raises ModelUnavailable if memory does not suffice.
        """
        rows, wanted = torch.from_numpy(np.array(tokens)), torch.from_numpy(np.array(targets))
        size = rows_per_pass(self.model, rows.shape[1], patterns=self.engine == "hooks", makes_way=True)
        kept = self._first_half
        first = 0 if kept is None else kept.n_tokens
        found = []
        for batch in even_passes(len(rows), size):
            part = rows[batch, first:]
            final = self._blocks.other(part, None if kept is None else kept.of(batch))
            found.append(centred_logits(self.model, final, part, wanted - first).cpu().numpy())
        return np.concatenate(found)

    def _read(
        self,
        sets: Sequence[HeadSet],
        mode: Mode,
        clean: Float[np.ndarray, "sequences targets"],
        read: Callable[[Hidden], np.ndarray],
        on_share: Callable[[float], None] | None,
        *,
        apart: bool,
    ) -> Float[np.ndarray, "sets sequences targets"]:
        """What `read` reads off the end of each set's run; `clean` for an empty one."""
        if mode not in MODES:
            raise BadInput(f"The ablation mode must be one of {', '.join(MODES)}, not {mode!r}.")
        self.model.check_heads(head for heads in sets for head in heads)
        self._prepare(mode, max((layer for heads in sets for layer, _ in heads), default=0))
        if on_share is not None:
            on_share(0.0)
        result = np.broadcast_to(clean, (len(sets), *clean.shape)).copy()
        # Neighbours in this order share the most.
        order = sorted((index for index, heads in enumerate(sets) if heads), key=lambda index: sorted(sets[index]))
        size = self._sets_side_by_side()
        for start in range(0, len(order), size):
            group = order[start : start + size]

            def report(share: float, start: int = start, count: int = len(group)) -> None:
                if on_share is not None:
                    on_share((start + share * count) / len(order))

            by_layers = partial(self._run_side_by_side, n_targets=clean.shape[1])
            run = by_layers if self.goes_on else self._run_whole
            for members, final in run([sets[index] for index in group], mode, 1 if apart else self._nodes_per_pass, report):
                values = read(final)
                for node, sharing in enumerate(members):
                    rows = slice(node * len(self.tokens), (node + 1) * len(self.tokens))
                    for member in sharing:
                        result[group[member]] = values[rows]
        return result

    def effects_by_gradient(
        self, mode: Mode, targets: Int[np.ndarray, " targets"]
    ) -> Float[np.ndarray, "n_layers n_heads sequences"]:
        """To first order, the change in each sequence's mean loss (nats) over `targets` that each head's ablation would cause.

        One pass forward and one back: the loss's gradient at each head's `z`, times what the ablation would change `z` by.
        In mode `pattern` no gradient flows through attention patterns. Raises BadInput as `token_loss`, and for an
        architecture whose layers cannot be run one by one, or let no gradient through.
        """
        none = BadInput(f"No estimate is possible for {self.model.card.name}: measure the exact map instead.")
        body = self._blocks.body
        given = [*body.inputs, *(part for call in body.calls for part in call.tensors)]
        # A forward in inference mode leaves tensors of which no gradient can be taken.
        if not self.goes_on or any(part.is_inference() for part in given):
            raise none
        self._prepare(mode, self.model.card.n_layers - 1)
        seen: dict[int, Tensor] = {}

        def keep(layer: int, z: Float[Tensor, "sequences tokens n_heads d_head"]) -> None:
            seen[layer] = z

        with torch.enable_grad():
            # The graph starts here: the weights themselves need no gradient.
            hidden = body.inputs[0].detach().requires_grad_(True)
            for layer in range(self.model.card.n_layers):
                current_control().checkpoint()
                edit = replace(self._edit([()], "zero", layer), frozen=mode == "pattern", watch=partial(keep, layer))
                hidden = self._blocks.run(layer, hidden, edit)
            final = self._blocks.finish(hidden)
            loss = token_losses(self.model, final, self.tokens, torch.from_numpy(np.array(targets))).mean(-1).sum()
            if not all(part.requires_grad for part in (loss, *seen.values())):
                raise none
            # Not `backward`, which would leave gradients on weights that may be somebody's own.
            gradients = torch.autograd.grad(loss, list(seen.values()), allow_unused=True)
        if any(gradient is None for gradient in gradients):
            # What comes later lets none through.
            raise none
        effects = np.full((self.model.card.n_layers, self.model.card.n_heads, len(self.tokens)), np.nan)
        for (layer, z), gradient in zip(seen.items(), gradients, strict=True):
            stand_in = self.stand_in(mode, layer)
            change = (torch.zeros_like(z) if stand_in is None else stand_in.to(z.dtype)) - z.detach()
            effects[layer, : z.shape[2]] = (gradient.float() * change.float()).sum(dim=(1, 3)).T.cpu().numpy()
        return effects

    def stand_in(self, mode: Mode, layer: int) -> Float[Tensor, "sequences tokens n_heads d_head"] | None:
        """What `mode` puts in the place of `z` in `layer`, by sequence or the same for all; None for nothing."""
        self._prepare(mode, layer)
        return self._replacements.get(mode, {}).get(layer)

    def _run_side_by_side(
        self, sets: Sequence[HeadSet], mode: Mode, at_once: int, report: Callable[[float], None], *, n_targets: int
    ) -> Iterator[tuple[list[list[int]], Hidden]]:
        """Run non-empty `sets`; yields, `at_once` at a time, which sets share each run, and the unembedding's inputs.

        A node is one run: the sets that have lost the same heads so far are in the same node. n_targets: of how many tokens
        each run's end is read, which takes its time, too.
        """
        first = min(layer for heads in sets for layer, _ in heads)
        node_of = [CLEAN] * len(sets)
        nodes_by_layer: list[list[tuple[int, tuple[Head, ...]]]] = []
        for layer in range(first, self.model.card.n_layers):
            branches: dict[tuple[int, tuple[Head, ...]], int] = {}
            for index, heads in enumerate(sets):
                here = tuple(sorted(head for head in heads if head.layer == layer))
                if node_of[index] != CLEAN or here:
                    node_of[index] = branches.setdefault((node_of[index], here), len(branches))
            nodes_by_layer.append(list(branches))
        one_layer = flops_of_layer(self.model.card, self.tokens.shape[1])
        one_end = flops_of_readout(self.model.card, n_targets)
        work = one_layer * sum(map(len, nodes_by_layer)) + one_end * len(nodes_by_layer[-1])
        done, ends = 0.0, list[Hidden]()
        for layer, nodes in enumerate(nodes_by_layer, first):
            ends = self._one_layer(nodes, ends, mode, layer, at_once)
            done += one_layer * len(nodes)
            report(done / work)
        for start in range(0, len(ends), at_once):
            piece = range(start, min(start + at_once, len(ends)))
            members = [[index for index, node in enumerate(node_of) if node == wanted] for wanted in piece]
            yield members, self._blocks.finish(torch.cat([ends[node] for node in piece]))
            done += one_end * len(piece)
            report(done / work)

    def _run_whole(
        self, sets: Sequence[HeadSet], mode: Mode, at_once: int, report: Callable[[float], None]
    ) -> Iterator[tuple[list[list[int]], Hidden]]:
        """The same by whole passes, for models whose blocks cannot be run on their own."""
        for start in range(0, len(sets), at_once):
            piece = range(start, min(start + at_once, len(sets)))
            edits = {
                layer: self._edit([[head for head in sets[index] if head.layer == layer] for index in piece], mode, layer)
                for layer in range(self.model.card.n_layers)
            }
            yield [[index] for index in piece], self._blocks.whole_pass(edits, len(piece))
            report(piece.stop / len(sets))

    def _one_layer(
        self, branches: list[tuple[int, tuple[Head, ...]]], ends: list[Hidden], mode: Mode, layer: int, at_once: int
    ) -> list[Hidden]:
        """Each branch's stream after `layer`: its parent's (or the clean one) through the block, its heads replaced."""
        found: list[Hidden] = []
        clean = self._blocks.body.inputs[layer]
        for start in range(0, len(branches), at_once):
            piece = branches[start : start + at_once]
            hidden = torch.cat([clean if parent == CLEAN else ends[parent] for parent, _ in piece])
            edit = self._edit([heads for _, heads in piece], mode, layer)
            found += self._by_rows(layer, hidden, edit).split(len(self.tokens))
        return found

    def _by_rows(self, layer: int, hidden: Hidden, edit: LayerEdit) -> Hidden:
        """Block `layer`; of very many sequences some at a time, so that a step stays short and its memory small."""
        if len(edit.ablated) > 1 or edit.frozen or len(hidden) <= self._rows_per_pass:
            current_control().checkpoint()
            return self._blocks.run(layer, hidden, edit)
        found = []
        for rows in even_passes(len(hidden), self._rows_per_pass):
            current_control().checkpoint()
            found.append(self._blocks.run(layer, hidden[rows], edit.of(rows)))
        return torch.cat(found)

    def _edit(self, heads_of_nodes: Sequence[Sequence[Head]], mode: Mode, layer: int) -> LayerEdit:
        ablated = torch.zeros(len(heads_of_nodes), self.model.anatomy.heads_in(layer), dtype=torch.bool)
        for node, heads in enumerate(heads_of_nodes):
            for _, head in heads:
                ablated[node, head] = True
        # Asked for only where something is taken away: means of deeper layers would cost a pass of their own.
        stand_in = self.stand_in(mode, layer) if any(heads_of_nodes) else None
        return LayerEdit(ablated, stand_in, frozen=mode == "pattern")

    def _sets_side_by_side(self) -> int:
        one = 4 * self.tokens.numel() * self.model.card.d_model
        return max(1, WAITING_STREAMS // one)

    def _prepare(self, mode: Mode, layer: int) -> None:
        """Make, once, what `mode` puts in the place of a head's output, in all layers up to `layer`."""
        if mode == "mean":
            if self._reference is None:
                raise BadInput("Mean ablation needs reference sequences; choose another mode for these tokens.")
            self._replacements[mode] = self._reference.up_to(layer, self.tokens.shape[1])
        elif mode == "resample" and mode not in self._replacements:
            order = torch.from_numpy(derangement(len(self.tokens), self._seed)).to(self.model.device)
            self._replacements[mode] = self._blocks.heads_of(self.tokens, lambda z: z[order])
        elif mode == "pattern":
            self._blocks.prepare_frozen()

    def _losses(self, final: Hidden, targets: Tensor | None) -> np.ndarray:
        rows = self.tokens.repeat(len(final) // len(self.tokens), 1)
        with torch.no_grad():
            return token_losses(self.model, final, rows, targets).cpu().numpy()

    def _centred(self, final: Hidden, targets: Tensor) -> np.ndarray:
        rows = self.tokens.repeat(len(final) // len(self.tokens), 1)
        return centred_logits(self.model, final, rows, targets).cpu().numpy()


def derangement(count: int, seed: int) -> np.ndarray:
    """A random order of `0 .. count-1` in which nothing stays in its place: one cycle through a random order.

    Raises BadInput for fewer than two, which have none.
    """
    if count < 2:
        raise BadInput("Resample ablation needs at least 2 sequences: a head's output must come from another one.")
    order = np.random.default_rng(seed).permutation(count)
    moved = np.empty(count, dtype=np.int64)
    moved[order] = np.roll(order, 1)
    return moved
