"""Ordinary text, for what random tokens cannot tell."""
