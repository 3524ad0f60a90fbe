"""`python -m benchmarks`: every benchmark, one after the other, then all rows together and how many failed."""

import platform

import torch

from benchmarks import causal_map, cold_start, growth, memory, pages, room, score_pass, text, threshold_tick, verdicts, weights
from benchmarks.rows import markdown

if __name__ == "__main__":
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    rows = [
        *cold_start.main(),
        *threshold_tick.main(),
        *weights.main(),
        *memory.main(),
        *score_pass.main([]),
        *text.main([]),
        *causal_map.main([]),
        *verdicts.main(),
        *pages.main(),
        *growth.main([]),
        *room.main([]),
    ]
    failed = [row.what for row in rows if row.verdict == "FAIL"]
    print(f"\n## Everything\n\n{markdown(rows)}\n\n{len(rows)} rows, {len(failed)} failed.", *failed, sep="\n- ")
