"""The zoo's oracle: what a model's numbers are, by the model library's own module, run eagerly, and loops over its numbers.

Nothing of the product is used. What cannot be had this way is None, and then nothing that the product says can be called right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from tests.zoo.build import quiet
from tests.zoo.watching import Patterns, Seen, attentions, hooked, inputs_of

# A slice of z that moved less than this did not move.
STILL = 1e-6


class Oracle:
    """A folder's model on one probe: `[sequences, b + 2 * length]` ids, and `control` ids of the same shape.

    shuffled, rotated: the same tokens in other orders, where there are such.
    Raises whatever the library raises for a folder that it cannot run.
    """

    def __init__(
        self,
        folder: Path,
        tokens: np.ndarray,
        control: np.ndarray,
        length: int,
        shuffled: np.ndarray | None = None,
        rotated: np.ndarray | None = None,
    ) -> None:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(folder)
            maker = getattr(transformers, (config.architectures or [""])[0], transformers.AutoModelForCausalLM)
            self.model: nn.Module = maker.from_pretrained(folder, attn_implementation="eager").eval().requires_grad_(False)
        self.inner = inner = config.get_text_config(decoder=True)
        self.n_heads = _stated(inner, "num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads")
        self.n_layers = _stated(inner, "num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers")
        self.tokens, self.control, self.length = np.array(tokens), np.array(control), length
        self.b = tokens.shape[1] - 2 * length
        self.shuffled, self.rotated = shuffled, rotated

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        """`[sequences, tokens, vocabulary]`, double precision."""
        with quiet(), torch.no_grad():
            found: np.ndarray = self.model(torch.from_numpy(np.array(tokens)), use_cache=False).logits.double().numpy()
        return found

    @cached_property
    def causal(self) -> bool:
        """Whether another last token leaves every earlier logit alone."""
        other = self.tokens.copy()
        other[:, -1] = self.tokens[:, -2]
        return bool(np.allclose(self.logits(self.tokens)[:, :-1], self.logits(other)[:, :-1], atol=1e-5, rtol=1e-5))

    @cached_property
    def seen(self) -> dict[int, Seen]:
        """The layers that have attention over tokens, by number."""
        return self._by_layer(self._watched(self.tokens))

    def _by_layer(self, found: list[Seen]) -> dict[int, Seen]:
        numbers = [seen.number for seen in found]
        if len(set(numbers)) < len(numbers):
            # Several attentions in one layer: the model counts each as a layer.
            numbers = list(range(len(found)))
        there = zip(numbers, found, strict=True)
        return {number: seen for number, seen in there if seen.pattern.shape[-1] == seen.pattern.shape[-2]}

    def _watched(self, tokens: np.ndarray) -> list[Seen]:
        with quiet():
            return attentions(self.model, lambda: self.run(tokens), self.n_heads, tokens.shape[1])

    def run(self, tokens: np.ndarray | None = None) -> Any:
        """One pass, with whatever hooks are there; on the probe by default."""
        ids = torch.from_numpy(np.array(self.tokens if tokens is None else tokens))
        with torch.no_grad():
            return self.model(ids, use_cache=False, output_attentions=True)

    def patterns_now(self, tokens: np.ndarray | None = None) -> dict[int, np.ndarray]:
        """Each layer's pattern on `tokens` with whatever hooks are there."""
        found = self._by_layer(self._watched(self.tokens if tokens is None else tokens))
        return {layer: seen.pattern.double().numpy() for layer, seen in found.items()}

    def attention(self, layer: int) -> nn.Module:
        """The module that a layer's attention is."""
        return self.model.get_submodule(self.seen[layer].name)

    def pattern(self, layer: int) -> np.ndarray:
        """`[sequences, n_heads, query, key]` on the probe."""
        return self.seen[layer].pattern.double().numpy()

    # The two losses, in nats.

    @cached_property
    def clean_loss(self) -> np.ndarray:
        """Each token's loss on the probe, by target position; NaN at position 0."""
        return token_losses(self.logits(self.tokens), self.tokens)

    def copies(self, loss: np.ndarray) -> tuple[float, float]:
        """The means over first-copy and second-copy targets."""
        first = [loss[s, p] for s in range(len(loss)) for p in range(max(self.b, 1), self.length + self.b)]
        second = [loss[s, p] for s in range(len(loss)) for p in range(self.length + self.b + 1, loss.shape[1])]
        return float(np.mean(first)), float(np.mean(second))

    def behaviour(self) -> dict[str, float]:
        """Section 2 of docs/science.md: the mean loss of the second half, of each of the four; none without other orders."""
        if self.shuffled is None or self.rotated is None:
            return {}
        halves = {"rep": self.tokens, "fresh": self.control, "shuf": self.shuffled, "rot": self.rotated}
        found = {}
        for name, tokens in halves.items():
            loss = token_losses(self.logits(tokens), tokens)
            rows = [
                [loss[s, p] for p in range(self.length + self.b + 1, loss.shape[1]) if name != "rot" or self._follows(s, p - 1)]
                for s in range(len(loss))
            ]
            found[name] = float(np.mean([np.mean(row) for row in rows]))
        return found

    def _follows(self, s: int, q: int) -> int:
        """Where, in the first copy, the successor of the token at `q` of a rotated sequence is; 0 where it is the last."""
        assert self.rotated is not None
        earlier = self.rotated[s].tolist().index(self.rotated[s, q], self.b)
        return earlier + 1 if earlier + 1 < self.b + self.length else 0

    # Scores of heads: section 1 of docs/science.md, one cell at a time.

    def score(self, name: str) -> np.ndarray:
        """`[n_layers, n_heads]`, NaN where a layer has no attention."""
        if name == "rotation_contrast":
            return self._rotation_contrast()
        if name == "contrast":
            return self._mean_of("induction", self._patterns) - self._mean_of("induction", self._control_patterns)
        return self._mean_of(name, self._patterns)

    def _rotation_contrast(self) -> np.ndarray:
        found = np.full((self.n_layers, self.n_heads), np.nan)
        assert self.rotated is not None
        rotated, control = self.patterns_now(self.rotated), self._control_patterns
        rows, queries = range(len(self.rotated)), range(self.length + self.b, self.b + 2 * self.length)
        cells = [(s, q, key) for s in rows for q in queries if (key := self._follows(s, q))]
        for layer in self.seen:
            for head in range(self.n_heads):
                more = [
                    [rotated[layer][s, head, q, k] - control[layer][s, head, q, k] for s, q, k in cells if s == row]
                    for row in rows
                ]
                found[layer, head] = np.mean([np.mean(row) for row in more])
        return found

    @cached_property
    def _patterns(self) -> dict[int, np.ndarray]:
        return {layer: self.pattern(layer) for layer in self.seen}

    @cached_property
    def _control_patterns(self) -> dict[int, np.ndarray]:
        return self.patterns_now(self.control)

    def _mean_of(self, name: str, patterns: dict[int, np.ndarray]) -> np.ndarray:
        found = np.full((self.n_layers, self.n_heads), np.nan)
        for layer, pattern in patterns.items():
            for head in range(self.n_heads):
                rows = [pattern[s, head] for s in range(len(pattern))]
                found[layer, head] = np.mean([value for row in rows for value in self._cells(name, row)])
        return found

    def _cells(self, name: str, pattern: np.ndarray) -> list[float]:
        length, b, end = self.length, self.b, self.b + 2 * self.length
        if name == "induction":
            return [pattern[q, q - length + 1] for q in range(length + b, end)]
        if name == "previous_token":
            return [pattern[q, q - 1] for q in range(b + 1, end)]
        if name == "duplicate_token":
            return [pattern[q, q - length] for q in range(length + b, end)]
        if name == "current_token":
            return [pattern[q, q] for q in range(1, end)]
        if name == "sink":
            return [pattern[q, 0] for q in range(1, end)]
        assert name == "entropy"
        return [_entropy(pattern[q, : q + 1]) / math.log(q + 1) for q in range(1, end)]

    # Zero ablation: a head's slice of what enters the output projection.

    @cached_property
    def outputs(self) -> dict[int, nn.Module | None]:
        """Each attention layer's output projection; None where its input is not one slice a head."""
        return {layer: self._output_projection(seen) for layer, seen in self.seen.items()}

    def _output_projection(self, seen: Seen) -> nn.Module | None:
        maps = list(dict.fromkeys(seen.after))
        clean = self._inputs(maps, {})
        for linear in maps:
            z = clean.get(linear)
            if z is None or z.dim() < 2:
                continue
            others = [dict.fromkeys(seen.softmaxes, _other(head)) for head in range(self.n_heads)]
            moved = [self._inputs([linear], change)[linear] for change in others]
            if all((changed - z).abs().max() <= STILL for changed in moved):
                continue
            if z.shape[-1] % self.n_heads or z.dim() != 3:
                return None
            return linear if all(self._only_slice(z, changed, head) for head, changed in enumerate(moved)) else None
        return None

    def _only_slice(self, z: Tensor, changed: Tensor, head: int) -> bool:
        """Whether only `head`'s slice moved; others may have been scaled together, by a norm before the projection."""
        z, changed = (part.double().unflatten(-1, (self.n_heads, -1)) for part in (z, changed))
        others = [other for other in range(self.n_heads) if other != head]
        before, after = z[..., others, :].flatten(-2), changed[..., others, :].flatten(-2)
        scale = (before * after).sum(-1, keepdim=True) / (before * before).sum(-1, keepdim=True).clamp(min=1e-12)
        return bool((after - scale * before).abs().max() < 1e-4 and (changed - z)[..., head, :].abs().max() > STILL)

    def _inputs(self, modules: list[nn.Module], change: dict[int, Any]) -> dict[nn.Module, Tensor]:
        def run() -> None:
            with Patterns(self.n_heads, self.tokens.shape[1], change):
                self.run()

        with quiet():
            return inputs_of(modules, run)

    def can_ablate(self, layer: int) -> bool:
        """Whether a head of this layer has an output of its own."""
        return self.outputs.get(layer) is not None

    @contextmanager
    def zeroed(self, heads: list[tuple[int, int]], share: float = 1.0) -> Iterator[None]:
        """Inside, `share` of what `heads` put into their output projections is taken away."""

        def take(layer: int) -> Any:
            def hook(module: nn.Module, args: Any) -> Any:
                z = args[0].clone()
                width = z.shape[-1] // self.n_heads
                for head in (head for there, head in heads if there == layer):
                    z[..., head * width : (head + 1) * width] *= 1 - share
                return (z, *args[1:])

            return hook

        with ExitStack() as stack:
            for layer in {layer for layer, _ in heads}:
                output = self.outputs[layer]
                assert output is not None
                stack.enter_context(hooked([output], before=take(layer)))
            yield

    def ablated_loss(self, heads: list[tuple[int, int]]) -> np.ndarray:
        """Each token's loss with `heads` zeroed, by target position."""
        with self.zeroed(heads):
            return token_losses(self.logits(self.tokens), self.tokens)

    @cached_property
    def causal_map(self) -> np.ndarray:
        """`[n_layers, n_heads]`: the change in second-copy loss with each head zeroed alone; NaN where there is none."""
        found = np.full((self.n_layers, self.n_heads), np.nan)
        for layer in self.seen:
            if self.can_ablate(layer):
                for head in range(self.n_heads):
                    found[layer, head] = self.copies(self.ablated_loss([(layer, head)]))[1] - self.copies(self.clean_loss)[1]
        return found


def token_losses(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """`-log p(token)` in nats, by target position; NaN at position 0."""
    found = np.full(tokens.shape, np.nan)
    for s in range(tokens.shape[0]):
        for p in range(1, tokens.shape[1]):
            row = logits[s, p - 1]
            top = row.max()
            found[s, p] = top + math.log(np.exp(row - top).sum()) - row[tokens[s, p]]
    return found


def _entropy(weights: np.ndarray) -> float:
    """Of weights made to sum to 1: where a learned sink takes a part, they do not."""
    shares = weights / weights.sum()
    return float(-sum(share * math.log(share) for share in shares if share > 0))


def _other(head: int) -> Any:
    """Another pattern for one head; what it is does not matter."""

    def change(pattern: Tensor) -> Tensor:
        pattern[:, head] = pattern[:, head] * torch.linspace(0.2, 1.7, pattern.shape[-1])
        return pattern

    return change


def _stated(config: Any, *names: str) -> int:
    """The first of these settings that the configuration has; 0 where it has none."""
    return next((int(value) for name in names if isinstance(value := getattr(config, name, None), int)), 0)
