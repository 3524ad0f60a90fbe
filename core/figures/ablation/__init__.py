"""Figures of what is lost without heads."""
