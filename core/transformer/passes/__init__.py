"""Passes over a loaded model: with hooks, block by block, fused; and its weights as they act."""
