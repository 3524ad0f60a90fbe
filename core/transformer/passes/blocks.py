"""A model one block at a time, from a clean pass that is kept: any block again, for many rows, with heads changed inside it.

Over the fast module where it was found to agree with the eager one at this length, else over the eager one itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.errors import BadInput, Withheld
from core.runtime.jobs import current_control
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import even_passes, rows_per_pass
from core.transformer.passes.fused import Engine
from core.transformer.passes.fused_attention import HeadsFirst, Seen, each_layer
from core.transformer.passes.hooks import (
    Body,
    Hidden,
    Hook,
    attached,
    check_finite,
    check_rows,
    finished,
    pattern_hook,
    run_body,
    z_hook,
)
from core.transformer.passes.prefix import Prefix, continuing, remembering
from core.transformer.passes.trials import end_tolerance

Z = Float[Tensor, "batch tokens n_heads d_head"]
# Makes the clean pass over some sequences: shown them, the module, and what runs it, whose outcome it returns. It may run it
# again, holds the model meanwhile, and decides about gradients.
Through = Callable[[Int[Tensor, "batch tokens"], nn.Module, Callable[[], Body]], Body]


@dataclass(frozen=True)
class LayerEdit:
    """What to change in one layer, for rows that are `nodes` times the clean sequences, one node after the other.

    ablated: which heads of each node lose their `z`.
    stand_in: what takes its place, by clean sequence and position or the same for all; None for nothing.
    places: at which positions of each clean sequence it is lost; None for all.
    frozen: whether the layer's patterns are held at their clean values.
    watch: shown `z` as it is before anything is replaced.
    """

    ablated: Bool[Tensor, "nodes n_heads"]
    stand_in: Float[Tensor, "sequences_or_1 tokens_or_1 n_heads d_head"] | None = None
    frozen: bool = False
    watch: Callable[[Z], None] | None = None
    places: Bool[Tensor, "sequences tokens"] | None = None

    def of(self, rows: slice) -> LayerEdit:
        """The same for some of the sequences; of one node, and not with frozen patterns."""
        assert len(self.ablated) == 1
        assert not self.frozen
        each = self.stand_in is not None and len(self.stand_in) > 1
        stand_in = self.stand_in[rows] if each and self.stand_in is not None else self.stand_in
        return replace(self, stand_in=stand_in, places=None if self.places is None else self.places[rows])

    def replaced(self, z: Z) -> Z:
        """`z` of all rows with the ablated heads' replaced."""
        if self.watch is not None:
            self.watch(z)
        if not self.ablated.any():
            return z
        nodes, n_heads = len(self.ablated), z.shape[2]
        whole = z.view(nodes, -1, *z.shape[1:])
        chosen = self.ablated[:, :n_heads].to(z.device).view(nodes, 1, 1, n_heads, 1)
        if self.places is not None:
            chosen = chosen & self.places.to(z.device)[None, :, :, None, None]
        other = z.new_zeros(()) if self.stand_in is None else self.stand_in.to(z.dtype)[None]
        return torch.where(chosen, other, whole).reshape(z.shape)


class Blocks:
    """A model's blocks, and the clean pass over some sequences that they go on from."""

    def __init__(
        self,
        model: LoadedModel,
        tokens: Int[Tensor, "batch tokens"],
        engine: Engine,
        keep: Prefix | None = None,
        after: Prefix | None = None,
        through: Through | None = None,
    ) -> None:
        """keep: where the clean pass leaves its first tokens for passes that begin alike. after: what `tokens` come after.

        through: what else is read of the clean pass, which must stay as it is to the bit.
        """
        self.engine = engine
        # Whether blocks can be run again on these tokens, which `can_resume` has tried on others.
        self.goes_on = True
        self._model, self._tokens, self._after = model, tokens, after
        self._module: nn.Module = model.bare if engine == "fused" else model.module
        self._blocks = model.blocks(self._module)
        self._clean: list[Seen] = []
        self._patterns: dict[int, Tensor] = {}
        self.body: Body = self._clean_pass(keep, through)

    def _clean_pass(self, keep: Prefix | None, through: Through | None) -> Body:
        """Some sequences at a time: the job that this is a part of can stop, or make way, in between."""
        patterns, makes_way = self.engine == "hooks", through is None
        size = rows_per_pass(self._model, self._tokens.shape[1], patterns=patterns, makes_way=makes_way)
        bodies: list[Body] = []
        prefixes: list[Prefix] = []
        first = 0 if self._after is None else self._after.n_tokens
        for part in even_passes(len(self._tokens), size):
            current_control().checkpoint()
            rows = self._tokens[part]
            after = None if self._after is None else self._after.of(part)
            made: list[Prefix] = []

            def run(rows: Tensor = rows, after: Prefix | None = after, made: list[Prefix] = made) -> Body:
                prefix = None if keep is None else Prefix(keep.n_tokens)
                made[:] = [] if prefix is None else [prefix]
                with remembering(prefix), continuing(after):
                    return run_body(
                        self._model,
                        rows,
                        keep_inputs=True,
                        module=self._module,
                        first_position=first,
                        makes_way=makes_way,
                    )

            with torch.no_grad():
                body = run() if through is None else through(rows, self._module, run)
            bodies.append(body)
            check_finite(self._model, bodies[-1].final, rows)
            prefixes += made
        if keep is not None:
            keep.join(prefixes)
        inputs = tuple(torch.cat(layer) for layer in zip(*(body.inputs for body in bodies), strict=True))
        self.goes_on = self._model.given is None or not any(map(self._is_by_row, range(len(inputs)), repeat(bodies)))
        return Body(torch.cat([body.final for body in bodies]), inputs, bodies[0].calls)

    @torch.no_grad()
    def _is_by_row(self, layer: int, bodies: list[Body]) -> bool:
        """Whether what a block is given beside the stream differs from row to row, as a mask does that depends on the tokens.

        What is as long as there are rows may be that: then the last row is run alone.
        """
        call, body = bodies[0].calls[layer], bodies[0]
        others = [other.calls[layer].tensors for other in bodies[1:]]
        if any(not torch.equal(*pair) for each in others for pair in zip(call.tensors, each, strict=False)):
            return True
        count = len(body.final)
        if count == 1 or all(value.ndim == 0 or len(value) != count for value in call.tensors):
            return False
        after = None if self._after is None else self._after.of(slice(count - 1, count))
        try:
            with continuing(self._after_in(layer, 1, after)):
                again = call.run(self._blocks[layer], body.inputs[layer][-1:])
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
            return True
        if layer == len(body.inputs) - 1:
            return len(again) != 1
        end = body.inputs[layer + 1][-1:]
        if again.shape != end.shape:
            return True
        return float((again - end).abs().max()) > end_tolerance(self._model) * float(end.abs().max())

    def run(self, layer: int, hidden: Hidden, edit: LayerEdit | None = None) -> Hidden:
        """Block `layer` on `hidden`, whatever its batch, with `edit` inside.

        Raises ModelUnavailable as `check_rows`, Withheld where blocks cannot be run one by one on these tokens.
        """
        nodes = -(-len(hidden) // len(self._tokens))
        check_rows(self._model, self._module, self._tokens.repeat(nodes, 1)[: len(hidden)])
        if not self.goes_on:
            raise Withheld(
                f"{self._model.card.name} gives its layers something that differs from row to row, as a mask that depends on "
                "the tokens, so they cannot be run one by one."
            )
        with self._edited({} if edit is None else {layer: edit}), continuing(self._after_in(layer, len(hidden), self._after)):
            return self.body.calls[layer].run(self._blocks[layer], hidden)

    def _after_in(self, layer: int, rows: int, after: Prefix | None) -> Prefix | None:
        """What one layer attends to of the tokens that these come `after`, for several nodes side by side."""
        if after is None or layer not in self._model.anatomy.attention:
            return None
        key, value = after.layers[list(self._model.anatomy.attention).index(layer)]
        nodes = rows // len(key)
        return Prefix(after.n_tokens, [(key.repeat(nodes, 1, 1, 1), value.repeat(nodes, 1, 1, 1))])

    def finish(self, hidden: Hidden) -> Hidden:
        """From the last block's output to the unembedding's input."""
        return finished(self._model, hidden, self._module)

    def heads_of(self, tokens: Int[Tensor, "batch tokens"], keep: Callable[[Z], Tensor]) -> dict[int, Tensor]:
        """What `keep` makes of each layer's `z` in a pass over `tokens`."""
        return self._kept_at(tokens, z_hook, keep)

    def other(self, tokens: Int[Tensor, "batch tokens"], after: Prefix | None = None) -> Hidden:
        """The unembedding's input of an untouched pass over other `tokens`, which come after what a clean pass kept."""
        first = 0 if after is None else after.n_tokens
        with torch.no_grad(), continuing(after):
            found = run_body(self._model, tokens, module=self._module, first_position=first, makes_way=True).final
        check_finite(self._model, found, tokens)
        return found

    def prepare_frozen(self) -> None:
        """Make ready, once, for edits whose patterns are frozen; raises BadInput where a change would come too late."""
        if self.engine == "fused" and not self._clean:
            with torch.no_grad(), each_layer(self._clean.append):
                run_body(self._model, self._tokens, module=self._module)
        elif self.engine == "hooks" and not self._patterns:
            self._check_patterns_can_be_frozen()
            self._patterns = self._kept_at(self._tokens, pattern_hook, torch.clone)

    def whole_pass(self, edits: dict[int, LayerEdit], nodes: int) -> Hidden:
        """The unembedding's input of a pass from the first token on: for models whose blocks cannot be run on their own."""
        with self._edited(edits):
            return run_body(self._model, self._tokens.repeat(nodes, 1), module=self._module, makes_way=True).final

    @contextmanager
    def _edited(self, edits: dict[int, LayerEdit]) -> Iterator[None]:
        """Everything in `edits` happens in the passes made inside; another person's pass waits."""
        hooks: list[Hook] = [(z_hook(layer), edit.replaced) for layer, edit in edits.items()]
        with ExitStack() as stack:
            if self.engine == "fused":
                frozen = {layer: edit for layer, edit in edits.items() if edit.frozen}
                if frozen:
                    # Layers show themselves in order, those with attention only.
                    places = [layer for layer in self._model.anatomy.attention if layer in edits]
                    stack.enter_context(each_layer(partial(self._frozen, iter(places), frozen)))
            else:
                hooks += [
                    (pattern_hook(layer), partial(self._clean_pattern, layer, len(edit.ablated)))
                    for layer, edit in edits.items()
                    if edit.frozen
                ]
            stack.enter_context(attached(self._model, hooks, self._module))
            yield

    def _frozen(self, places: Iterator[int], frozen: dict[int, LayerEdit], attention: Seen) -> HeadsFirst | None:
        layer = next(places)
        if layer not in frozen:
            return None
        clean = self._clean[list(self._model.anatomy.attention).index(layer)]
        count = len(frozen[layer].ablated)
        # Sequence by sequence of the clean pass, so that its pattern is never copied.
        parts = attention.value.split(len(self._tokens))
        assert len(parts) == count
        return torch.cat([clean.with_values(part) for part in parts])

    def _clean_pattern(self, layer: int, nodes: int, own: Tensor) -> Tensor:
        return self._patterns[layer].repeat(nodes, 1, 1, 1).to(own.dtype)

    def _kept_at(
        self, tokens: Int[Tensor, "batch tokens"], point: Callable[[int], object], keep: Callable[[Tensor], Tensor]
    ) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}

        def hook(layer: int) -> Callable[[Tensor], None]:
            def see(activation: Tensor) -> None:
                found[layer] = keep(activation)

            return see

        hooks: list[Hook] = [(point(layer), hook(layer)) for layer in self._model.anatomy.attention]  # type: ignore[misc]
        with torch.no_grad():
            run_body(self._model, tokens, hooks, module=self._module, makes_way=True)
        return found

    def _check_patterns_can_be_frozen(self) -> None:
        """A change to a pattern that is shown only after use would do nothing, silently.

        Raises BadInput for these.
        """
        first = min(self._model.anatomy.attention)
        seen: list[Tensor] = []

        def keep(z: Tensor) -> None:
            seen.append(z.detach().clone())

        hooks: list[Hook] = [(pattern_hook(first), torch.zeros_like), (z_hook(first), keep)]
        with torch.no_grad():
            run_body(self._model, self._tokens[:1, : min(4, self._tokens.shape[1])], hooks)
        if seen[0].abs().max() > 0:
            raise BadInput(
                f"Pattern-preserving ablation is not possible for {self._model.card.name}: this architecture shows its "
                "attention pattern only after use. Choose zero, mean or resample."
            )
