"""The score pass beside its floor, the bare body, and beside what a user would run: cached patterns and their diagonals."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.rows import Row, report
from benchmarks.shapes import SHAPES, random_model, repeated_tokens
from benchmarks.timing import median_ratio, turns
from core.attention.reduce import FusedReducer
from core.attention.scores import WHOLE_ROWS_WITHIN_TOKENS
from core.probes.layout import Layout
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused import can_fuse, fused_body
from core.transformer.passes.fused_attention import FusedAttention, Seen

# tokens: at least this many times faster than cached patterns.
FASTER = {101: 1.3, 513: None, 2049: 2.0}
OVER_THE_BODY = 1.15
TOKENS_IN_A_PASS = 404
# Shorter passes are over soon and are timed more often.
LONG = 1000


def run(shape: str, device: str, dtype: torch.dtype, lengths: tuple[int, ...], repeats: int) -> list[Row]:
    """Two rows for each number of tokens: over the floor, and against cached patterns."""
    model = random_model(shape, device, dtype)
    assert all(can_fuse(model, n_tokens) for n_tokens in lengths), f"{shape} does not take the fast path"
    rows = []
    for n_tokens in lengths:
        layout = Layout((n_tokens - 1) // 2, 1)
        tokens = repeated_tokens(model, max(1, TOKENS_IN_A_PASS // n_tokens), layout).to(device)
        cells, with_entropy = FusedReducer(layout, control=False, whole_rows=False), FusedReducer(layout, control=False)
        found = turns(
            {
                "body": partial(bare_body, model, tokens),
                "scores": partial(fused_body, model, tokens, _shown_to(cells)),
                "entropy": partial(fused_body, model, tokens, _shown_to(with_entropy)),
                "library": partial(library_diagonals, model, tokens, layout),
            },
            repeats if n_tokens > LONG else 3 * repeats,
        )
        probe = f"{shape}, {len(tokens)} x {n_tokens} tokens"
        body = found["body"]
        # A page of longer sequences measures entropy, and what else needs whole rows, only once somebody looks at it.
        run_by_a_page = "entropy" if n_tokens <= WHOLE_ROWS_WITHIN_TOKENS else "scores"
        page = median_ratio(found[run_by_a_page], body)
        beside = (
            f"with entropy {median_ratio(found['entropy'], body):.2f} x, without {median_ratio(found['scores'], body):.2f} x; "
        )
        beside += f"body {statistics.median(body) * 1e3:.0f} ms"
        rows.append(Row(f"{probe}: scores as a page runs them over the bare body", page, OVER_THE_BODY, beside=beside))
        gain = median_ratio(found["library"], found[run_by_a_page])
        rows.append(Row(f"{probe}: faster than cached patterns", gain, FASTER.get(n_tokens), at_least=True))
    return rows


def bare_body(model: LoadedModel, tokens: torch.Tensor) -> torch.Tensor:
    """The floor: the model library's own fastest forward, up to the final norm."""
    model.bare.set_attn_implementation("sdpa")
    try:
        with torch.no_grad():
            found: torch.Tensor = model.bare.base_model(input_ids=tokens, use_cache=False).last_hidden_state
            return found
    finally:
        model.bare.set_attn_implementation("headscope")


def library_diagonals(model: LoadedModel, tokens: torch.Tensor, layout: Layout) -> list[torch.Tensor]:
    """What tutorials do: keep every pattern, then take the mean of a diagonal."""
    with torch.no_grad():
        patterns = model.module(input_ids=tokens, use_cache=False, output_attentions=True).attentions
    return [pattern.diagonal(dim1=-2, dim2=-1, offset=1 - layout.length).mean(-1) for pattern in patterns]


def _shown_to(reduce: FusedReducer) -> Callable[[Seen], None]:
    def see(attention: Seen) -> None:
        assert isinstance(attention, FusedAttention)
        reduce(attention)

    return see


def main(arguments: list[str] | None = None) -> list[Row]:
    """Both shapes on one device."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", default="101,513,2049")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    lengths = tuple(int(word) for word in options.tokens.split(","))
    rows = [
        row for shape in SHAPES for row in run(shape, options.device, getattr(torch, options.dtype), lengths, options.repeats)
    ]
    return report(f"Score pass ({options.device}, {options.dtype})", rows)


if __name__ == "__main__":
    main()
