"""Bringing a model in from outside. Loading never does: it is asked for."""
