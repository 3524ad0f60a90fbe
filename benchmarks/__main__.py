"""`python -m benchmarks`: every benchmark, one after the other."""

from benchmarks import causal_map, cold_start, score_pass

if __name__ == "__main__":
    score_pass.main([])
    causal_map.main()
    cold_start.main()
