"""Memory above the weights: the score pass beside cached patterns, and at the longest sequence SmolLM2 takes.

Each measurement is a process of its own, for a process's peak never goes down again.
"""

from __future__ import annotations

import resource
import subprocess
import sys

from benchmarks.rows import Row, report

SHAPE = "SmolLM2-135M shape"
LONGEST = 8191  # 8,192 positions hold BOS and twice 4,095 tokens
LENGTHS = (513, 1025, 2049, 4097, LONGEST)


def peak_above_weights(way: str, n_tokens: int) -> float:
    """Peak memory in bytes that one pass adds to what the loaded model takes."""
    command = [sys.executable, "-m", "benchmarks.memory", way, str(n_tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _measure(way: str, n_tokens: int) -> float:
    from benchmarks.score_pass import library_diagonals
    from benchmarks.shapes import random_model, repeated_tokens
    from core.attention.score_pass import measure_heads
    from core.probes.given import given_probe
    from core.probes.layout import Layout

    model = random_model(SHAPE)
    layout = Layout((n_tokens - 1) // 2, 1)
    tokens = repeated_tokens(model, 1, layout)
    probe = given_probe(model.vocabulary, tuple(map(tuple, tokens.tolist())), layout.length)
    # What is only made once, on a first pass however short, is not the pass's own.
    small = given_probe(model.vocabulary, ((0, 5, 6, 5, 6),), 2)
    measure_heads(model, small)
    library_diagonals(model, tokens[:, :5], Layout(2, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way == "scores":
        assert measure_heads(model, probe).engine == "fused"
    else:
        library_diagonals(model, tokens, layout)
    return 1024.0 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main() -> list[Row]:
    """Rows of memory; the scores with losses and entropy, all that a request measures."""
    scores = {n_tokens: peak_above_weights("scores", n_tokens) for n_tokens in LENGTHS}
    cached = peak_above_weights("library", 2049)
    share = scores[2049] / cached
    beside = f"{scores[2049] / 1e9:.2f} GB and {cached / 1e9:.2f} GB"
    growth = (scores[LONGEST] - scores[2049]) / (LONGEST - 2049) * 1000 / 1e6
    return report(
        "Memory of the score pass above the weights (SmolLM2-135M shape, fp32, one sequence)",
        [
            Row("2,049 tokens: of what cached patterns take", share, 0.2, beside=beside),
            Row("8,191 tokens", scores[LONGEST] / 1e9, 4.0, unit="GB", beside=f"{growth:.0f} MB for each thousand tokens more"),
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(_measure(sys.argv[1], int(sys.argv[2])))
    else:
        main()
