"""The score pass beside its floor, the bare body, and beside what a user would run: cached patterns and their diagonals."""

from __future__ import annotations

import argparse

import torch

from benchmarks.shapes import SHAPES, random_model
from benchmarks.timing import medians
from core.fused import can_fuse, fused_body
from core.models.loaded import LoadedModel
from core.reduce import FusedReducer
from core.scores import Layout

# tokens: at most this many times the bare body, at least this many times faster than cached patterns.
GOALS = {101: (1.10, 1.3), 513: (1.10, None), 2049: (1.10, 2.0)}


def run(shape: str, device: str, dtype: torch.dtype, lengths: tuple[int, ...], repeats: int) -> None:
    """Print a row for each number of tokens."""
    model = random_model(shape, device, dtype)
    assert can_fuse(model), f"{shape} does not take the fast path"
    for n_tokens in lengths:
        layout = Layout((n_tokens - 1) // 2, 1)
        rows = max(1, 404 // n_tokens)
        r = torch.randint(1, model.card.d_vocab, (rows, layout.length))
        tokens = torch.cat([torch.zeros(rows, 1, dtype=torch.long), r, r], dim=1).to(device)
        cells, with_entropy = FusedReducer(layout, control=False, entropy=False), FusedReducer(layout, control=False)
        candidates = {
            "body": lambda tokens=tokens: _bare_body(model, tokens),
            "scores": lambda tokens=tokens, cells=cells: fused_body(model, tokens, cells),
            "with entropy": lambda tokens=tokens, reduce=with_entropy: fused_body(model, tokens, reduce),
            "library": lambda tokens=tokens, layout=layout: _library(model, tokens, layout),
        }
        found = medians(candidates, repeats)
        floor, faster = GOALS[n_tokens]
        ratio, gain = found["scores"] / found["body"], found["library"] / found["scores"]
        verdict = "pass" if ratio <= floor and (faster is None or gain >= faster) else "fail"
        print(
            f"{shape}, {device} {str(dtype)[6:]}, {rows} x {n_tokens} tokens: "
            f"scores {ratio:.2f} x the bare body (goal {floor:.2f}), "
            f"with entropy {found['with entropy'] / found['body']:.2f} x; {gain:.2f} x faster than cached patterns"
            f"{'' if faster is None else f' (goal {faster})'}: {verdict}   [body {found['body'] * 1e3:.0f} ms]"
        )


def _bare_body(model: LoadedModel, tokens: torch.Tensor) -> torch.Tensor:
    model.bare.set_attn_implementation("sdpa")
    try:
        with torch.no_grad():
            return model.bare.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    finally:
        model.bare.set_attn_implementation("headscope")


def _library(model: LoadedModel, tokens: torch.Tensor, layout: Layout) -> list[torch.Tensor]:
    """What tutorials do: keep every pattern, then take the mean of a diagonal."""
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_pattern"))
    return [
        cache[f"blocks.{layer}.attn.hook_pattern"].diagonal(dim1=-2, dim2=-1, offset=1 - layout.length).mean(-1)
        for layer in range(model.card.n_layers)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Both shapes on one device."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", default="101,513,2049")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    for shape in SHAPES:
        lengths = tuple(int(word) for word in options.tokens.split(","))
        run(shape, options.device, getattr(torch, options.dtype), lengths, options.repeats)


if __name__ == "__main__":
    main()
