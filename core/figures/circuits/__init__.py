"""Figures of heads that work together."""
