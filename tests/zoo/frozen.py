"""What a head writes by itself, by brute force: the pass again, the head changed, all that reads the stream held still.

In the second pass every linear map, bank of experts and convolution gives what it gave in the clean pass, but for those
that are `free` (the head's own output projection, and what leads from the last layer to the logits); every norm keeps
the scale that it had. What then changes in the logits came from the head directly. No gradient is taken, and no
family's names are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.watching import hooked, is_linear

Slope = Callable[[Tensor], Tensor]


class Recording:
    """One clean pass: what every held module gave, and by what linear map every norm carries a change, call by call."""

    def __init__(self, model: nn.Module, run: Callable[[], Any], free: set[nn.Module], *, norms_run: bool = False) -> None:
        """`free`: modules that are not held; with `norms_run`, norms measure the changed stream."""
        modules = [module for module in model.modules() if module not in free]
        self.norms = [module for module in modules if _is_norm(module)]
        self.held = [module for module in modules if is_linear(module) or _has_own_tables(module) or _needs_more(module)]
        self.norms = [] if norms_run else [norm for norm in self.norms if norm not in self.held]
        self._given: dict[nn.Module, list[Any]] = {}
        self._slopes: dict[nn.Module, list[tuple[Tensor, Tensor, Slope]]] = {}

        def keep(module: nn.Module, args: Any, result: Any) -> None:
            self._given.setdefault(module, []).append(result)

        def keep_slope(module: nn.Module, args: Any, result: Tensor) -> None:
            self._slopes.setdefault(module, []).append((args[0], result, _slope(module, args[0], result)))

        with hooked(self.held, after=keep), hooked(self.norms, after=keep_slope):
            run()

    def replay(self, run: Callable[[], Any]) -> Any:
        """`run` again, with everything held."""
        counts: dict[nn.Module, int] = {}

        def turn(module: nn.Module) -> int:
            counts[module] = counts.get(module, -1) + 1
            return counts[module]

        def give(module: nn.Module, args: Any, result: Any) -> Any:
            return self._given[module][turn(module)]

        def carry(module: nn.Module, args: Any, result: Tensor) -> Tensor:
            before, after, slope = self._slopes[module][turn(module)]
            return after + slope(args[0] - before)

        with hooked(self.held, after=give), hooked(self.norms, after=carry):
            return run()


def _slope(norm: nn.Module, before: Tensor, after: Tensor) -> Slope:
    """A norm as a linear map of a change, its scale as it was: `gain * change / scale`, centred where the norm centres.

    The gain is what the norm does to signs, whose size is 1 and mean 0; the scale, what it did here.
    """
    call = type(norm).forward
    nothing = call(norm, torch.zeros_like(before))
    signs = torch.ones_like(before)
    signs[..., 1::2] = -1
    gain = (call(norm, signs) - nothing) * signs
    centres = torch.allclose(call(norm, before + before.abs().mean()), after, atol=1e-3)
    middle = before - before.mean(-1, keepdim=True) if centres else before
    aligned = gain * middle
    one_over_scale = ((after - nothing) * aligned).sum(-1, keepdim=True) / (aligned * aligned).sum(-1, keepdim=True)

    def carry(change: Tensor) -> Tensor:
        return gain * one_over_scale * (change - change.mean(-1, keepdim=True) if centres else change)

    return carry


def _has_own_tables(module: nn.Module) -> bool:
    """Experts kept in one tensor, convolutions: matrices of weights that are no linear map's."""
    return any(weight.dim() >= 3 for weight in module.parameters(recurse=False))


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() and not list(module.children())


def _needs_more(module: nn.Module) -> bool:
    """A norm inside a mixer that is given a gate, too: what it gives belongs to the mixer."""
    return _is_norm(module) and "gate" in type(module).__name__.lower()
