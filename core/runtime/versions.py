"""Versions that are in every result: HeadScope's own, and those of the libraries whose arithmetic it is."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version

HEADSCOPE = "0.2.0"
LIBRARIES = ("torch", "transformers", "transformer_lens")


@lru_cache
def library_versions() -> dict[str, str]:
    """Versions of `LIBRARIES`, without local build tags."""
    return {name: version(name).split("+")[0] for name in LIBRARIES}
