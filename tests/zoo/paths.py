"""Path patching of keys by brute force: what a head's prefix matching becomes where its keys are read without an earlier head.

The stream without the earlier head's own output: the pass again with everything that reads the stream held (`frozen`), norms
running. The later layer's linear maps are then run on it, and of what they give only what makes keys is put into a clean pass.
Which of their columns make queries, and which keys, is found by moving each column at one position: a query moves that row of
the pattern, a key moves later rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.zoo.build import quiet
from tests.zoo.frozen import Recording
from tests.zoo.oracle import Oracle
from tests.zoo.watching import hooked, is_linear

MOVED_AT = 9
STILL = 1e-6


def patched_matching(oracle: Oracle, sender: tuple[int, int], receiver: tuple[int, int]) -> float | None:
    """The receiver's prefix matching without the sender in its keys; None where queries and keys cannot be told apart."""
    output, attention = oracle.outputs.get(sender[0]), oracle.attention(receiver[0])
    if output is None:
        return None
    with quiet(), torch.no_grad():
        readers = [module for module in attention.modules() if is_linear(module) and module is not oracle.outputs[receiver[0]]]
        clean = _inputs(oracle, readers)
        recording = Recording(oracle.model, oracle.run, {output}, norms_run=True)
        with oracle.zeroed([sender]):
            without = recording.replay(lambda: _inputs(oracle, readers))
        # Those that read the stream; what reads another's output was given the clean one.
        readers = [m for m in readers if m in clean and (without[m] - clean[m]).abs().max() > STILL]
        replaced = {}
        for reader in readers:
            columns = _key_columns(oracle, reader, receiver[0])
            if columns is None:
                return None
            replaced[reader] = (columns, reader(without[reader]))

        def put(module: nn.Module, args: Any, result: Tensor) -> Tensor:
            columns, changed = replaced[module]
            return torch.where(columns, changed, result)

        with hooked(readers, after=put):
            pattern = oracle.patterns_now()[receiver[0]]
    length, start = oracle.length, oracle.length + oracle.b
    cells = [pattern[s, receiver[1], q, q - length + 1] for s in range(len(pattern)) for q in range(start, pattern.shape[-1])]
    return float(np.mean(cells))


def _inputs(oracle: Oracle, modules: list[nn.Module]) -> dict[nn.Module, Tensor]:
    kept: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: Any) -> None:
        kept.setdefault(module, args[0].clone())

    with hooked(modules, before=keep):
        oracle.run()
    return kept


def _key_columns(oracle: Oracle, reader: nn.Module, layer: int) -> Tensor | None:
    """Which columns of what `reader` gives may be replaced without moving a query; None if one makes queries and keys."""
    width = _width(oracle, reader)
    one = oracle.tokens[:1]
    before = oracle.patterns_now(one)[layer][0]
    found = torch.zeros(width, dtype=torch.bool)
    for start in range(0, width, 64):
        columns = range(start, min(start + 64, width))

        def move(module: nn.Module, args: Any, result: Tensor, columns: range = columns) -> Tensor:
            result = result.clone()
            for row, column in enumerate(columns):
                result[row, MOVED_AT, column] += 1.0
            return result

        with hooked([reader], after=move):
            after = oracle.patterns_now(np.repeat(one, len(columns), axis=0))[layer]
        for row, column in enumerate(columns):
            makes_key = np.abs(after[row, :, MOVED_AT + 1 :] - before[:, MOVED_AT + 1 :]).max() > STILL
            makes_query = _ratios_moved(after[row, :, MOVED_AT], before[:, MOVED_AT])
            if makes_key and makes_query:
                return None
            found[column] = not makes_query
    return found


def _ratios_moved(after: np.ndarray, before: np.ndarray) -> bool:
    """Whether attention to earlier keys changed in other ways than all together: a key of its own cannot do that."""
    after, before = after[:, :MOVED_AT], before[:, :MOVED_AT]
    seen = (after > 1e-6) & (before > 1e-6)
    for a, b, there in zip(after, before, seen, strict=True):
        ratio = np.log(a[there]) - np.log(b[there])
        if ratio.size > 1 and ratio.max() - ratio.min() > 1e-4:
            return True
    return False


def _width(oracle: Oracle, reader: nn.Module) -> int:
    kept: list[int] = []
    with hooked([reader], after=lambda module, args, result: kept.append(result.shape[-1])):
        oracle.run()
    return kept[0]
