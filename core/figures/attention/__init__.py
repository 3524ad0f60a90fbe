"""Figures of scores, patterns and losses of tokens."""
