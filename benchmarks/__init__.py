"""Benchmarks: side by side with what a user would run instead, printed as ratios. `make ablator` runs them all."""
