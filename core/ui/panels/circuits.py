"""The parts of the circuits page: the graph, the table of edges, and a head pruned beside two like it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import streamlit as st

from core.ablation.cached import prune_each
from core.ablation.outcomes import Pruning
from core.ablation.subjects import PRUNING_MODES, pruning_mode
from core.ablation.words import MODE_MEANINGS, gain_lost_words
from core.attention.head_scores import HeadScores
from core.circuits.cached import MOST_HEADS, circuit, induction_heads
from core.circuits.circuit import PREVIOUS_TOKEN_FLOOR, Circuit, heads_to_prune
from core.circuits.tables import composition_rows, edge_rows, pruning_rows
from core.circuits.words import (
    SMALL_DROP,
    WORTH_SHOWING,
    composition_sentence,
    pruning_sentence,
    shown_heads,
    withheld_sentence,
)
from core.figures.base.memo import drawn
from core.figures.circuits.circuit import circuit_graph, describe_circuit, describe_pruned, pruned_matching
from core.figures.circuits.composition import composition_maps, describe_composition
from core.heads import Head, HeadSet, named, names
from core.numbers import NOTHING, counted, digits_that_add_up
from core.runtime.cache import if_cached
from core.settings.cost import PASSES_OF_A_CIRCUIT, expected_seconds
from core.settings.modes import Mode
from core.settings.provenance import measured_on
from core.sharing.commands import circuit_command
from core.sharing.facts import circuit_facts, pruning_facts
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.page import Page
from core.ui.frame.sentences import metric_change, verbatim
from core.ui.frame.state import held_place, set_control
from core.ui.frame.waiting import await_result, job_key
from core.verdicts.cached import verdict_seconds

_MODE = "circuit_mode"
_RECEIVER = "circuit_receiver"


def mode_choice(page: Page) -> Mode:
    """Zero or mean, the only two that make sense here; another page's resample or pattern becomes the mean."""
    mode: Mode = page.view.experiment.mode
    st.session_state[_MODE] = pruning_mode(mode)
    st.radio(
        "What stands in for a head",
        list(PRUNING_MODES),
        held_place(_MODE, PRUNING_MODES),
        key=_MODE,
        horizontal=True,
        format_func=str.capitalize,
        on_change=_take_mode,
        help="\n\n".join(f"**{mode.capitalize()}.** {MODE_MEANINGS[mode]}" for mode in PRUNING_MODES),
    )
    chosen: Mode = st.session_state[_MODE]
    return chosen


def circuit_of(page: Page, mode: Mode) -> Circuit | None:
    """The circuit; None while it is not there."""
    doing = "Calling heads, reading their weights, and cutting each path"

    def seconds() -> float:
        return verdict_seconds(page.subject) + expected_seconds(page.subject, PASSES_OF_A_CIRCUIT)

    floor = page.view.experiment.effect_floor
    work = partial(circuit, page.subject, mode, floor=floor)
    return await_result(job_key(page.subject, "circuit", mode, floor), work, doing, seconds=seconds)


def prunings_of(page: Page, heads: HeadSet, mode: Mode) -> list[Pruning] | None:
    """Each of `heads` pruned alone; None while one is not there."""
    work = partial(prune_each, page.subject, heads, mode)
    doing = "Taking one head away at a time and measuring all others again"
    seconds = partial(expected_seconds, page.subject, 2.0 * len(heads))
    return await_result(job_key(page.subject, "prune", mode, named(heads)), work, doing, seconds=seconds)


def graph_panel(page: Page, found: Circuit, scores: HeadScores) -> None:
    """The picture, and how to read it."""
    figure_panel(
        drawn(circuit_graph, found, scores, page.view.head, page.look),
        key="circuit",
        alt=describe_circuit(found),
        rows=partial(edge_rows, found.edges),
        source=circuit_source(page, found, scores),
    )
    there_are = len(_induction_heads(page, found))
    most = f"Of {counted(there_are, 'induction head')} the {len(found.induction)} with the highest contrast are drawn. "
    tried = (
        f"Tried: heads with a previous-token score above {PREVIOUS_TOKEN_FLOOR:.1f}, the highest first, at most {MOST_HEADS}; "
        "others may feed an induction head, too. "
    )
    st.caption(
        (most if there_are > len(found.induction) else "")
        + tried
        + "Beside a head: its previous-token score (left) or its prefix matching (right). On an edge, and by its width: what "
        "prefix matching loses when the right head's keys are read without the left head's output, everything else clean; "
        f"orange from {SMALL_DROP:.2f}. The largest losses are written, as far as there is room; the table below has that of "
        "every edge. Dotted: the weights' K-composition is not above that of random matrices. Only direct paths are cut: what "
        "layers between make of the left head's output stays. Click a head to pick it; point at an edge for both numbers."
    )


def composition_panel(page: Page, found: Circuit, scores: HeadScores) -> None:
    """K-, Q- and V-composition of every earlier head with one induction head, above random."""
    early = [head for head in found.induction if head.layer == 0]
    receivers = [head for head in found.induction if head not in early]
    if not receivers:
        st.info("Every induction head is in layer 0, so no head comes before it.", icon=":material/info:")
        return
    strongest = found.edges[0].induction if found.edges else receivers[0]
    shown = page.view.head if page.view.head in receivers else strongest
    st.session_state[_RECEIVER] = shown.name
    st.selectbox(
        "Induction head",
        names(receivers),
        held_place(_RECEIVER, names(receivers)),
        key=_RECEIVER,
        on_change=_pick_receiver,
        width=220,
        help="Whose keys, queries and values are looked at. Choosing it picks it.",
    )
    if found.withheld is not None:
        st.info(verbatim(withheld_sentence(found)), icon=":material/info:")
    said = composition_sentence(found, shown)
    if not said:
        return
    st.markdown(said)
    rotary = "; positions are rotary in this model and are left out" if page.subject.card.positional == "rotary" else ""
    figure_panel(
        drawn(composition_maps, found, shown, page.look),
        key="composition",
        alt=describe_composition(found, shown),
        rows=partial(composition_rows, found, shown),
        source=replace(circuit_source(page, found, scores), measured_on=f"the weights alone, whatever the tokens{rotary}"),
        on_pick=None,
    )
    st.caption("Colour: composition less that of random matrices, one scale for all three maps. Frames: previous-token heads.")


def edge_table(page: Page, found: Circuit) -> None:
    """Every edge with both numbers."""
    matching = {"path_patch_drop": "drop", "low": "95 % from", "high": "to", "clean": "clean", "patched": "cut"}
    numbers = matching | {f"{kind}_composition": f"{kind.upper()}-composition" for kind in "kqv"}
    formats = {name: "%.2f" if name in matching else "%.3f" for name in numbers}
    rows = edge_rows(found.edges)
    st.dataframe(
        rows,
        hide_index=True,
        placeholder=NOTHING,
        height="content" if len(rows) <= 10 else 400,
        column_config={name: st.column_config.NumberColumn(title, format=formats[name]) for name, title in numbers.items()}
        | {
            "random_composition": st.column_config.NumberColumn("random", format="%.3f"),
            "above_random": st.column_config.NumberColumn("K above random", format="%.3f"),
            "rank": st.column_config.NumberColumn("K rank"),
            "earlier_heads": st.column_config.NumberColumn("of earlier heads"),
        },
    )
    if page.subject.card.positional == "rotary":
        st.caption("Compositions leave rotary positions out. “Random” is the composition of random matrices of these shapes.")


def pruning_panel(page: Page, found: Circuit, scores: HeadScores, mode: Mode) -> None:
    """One head pruned beside the two with the nearest previous-token score: losses, and prefix matching of the others."""
    heads = heads_to_prune(scores, found.edges, _prunable(page.view.head, found), found.induction)
    st.caption(
        "Pruned: the picked head, or the one whose path costs most. Beside it: the two others whose previous-token score is "
        "nearest. Pick another head above or in the sidebar."
    )
    prunings = prunings_of(page, heads, mode)
    if prunings is None:
        return
    called = _induction_heads(page, found)
    st.markdown(pruning_sentence(prunings, scores, called))
    previous = scores.mean("previous_token")
    titles = [f"without {head.name} (previous-token {previous[head]:.2f})" for head in heads]
    # Large numbers need the whole width.
    places = [st.container() for _ in prunings] if page.look.large else st.columns(len(prunings))
    for place, pruning, title in zip(places, prunings, titles, strict=True):
        _numbers(place, pruning, title)
    shown = shown_heads(scores.mean("induction"), called)
    if not shown:
        st.info(f"No head's prefix matching is above {WORTH_SHOWING:.2f}, so there is nothing to lose.", icon=":material/info:")
        return
    figure_panel(
        drawn(pruned_matching, prunings, shown, called, titles, page.look),
        key="pruned",
        alt=describe_pruned(prunings, shown),
        rows=partial(pruning_rows, prunings, called),
        source=pruning_source(page, prunings, mode),
        on_pick=None,
    )
    st.caption(
        "Ring: before. Diamond: without that head. Bold: induction heads. Heads in its own layer or earlier cannot change. The "
        "head is taken away whole here: what makes up for it may leave more than a cut path does."
    )


def _induction_heads(page: Page, found: Circuit) -> HeadSet:
    """All of them while the verdict that the circuit rests on is kept, else those of the circuit: none is measured here."""
    return if_cached(partial(induction_heads, page.subject, page.view.experiment.effect_floor)) or found.induction


def circuit_source(page: Page, found: Circuit, scores: HeadScores) -> Source:
    """What the files beside the circuit say."""
    facts = partial(circuit_facts, page.subject, found, scores.behaviour)
    command = circuit_command(page.view, found.mode)
    return Source(measured_on(page.subject), command, facts, f"{page.stem}-circuits")


def pruning_source(page: Page, prunings: list[Pruning], mode: Mode) -> Source:
    """What the files beside pruned heads say."""
    command = circuit_command(page.view, mode, [pruning.head for pruning in prunings])
    return Source(measured_on(page.subject), command, partial(pruning_facts, page.subject, prunings), f"{page.stem}-pruning")


def _take_mode() -> None:
    set_control("mode", st.session_state[_MODE])


def _pick_receiver() -> None:
    set_control("head", st.session_state[_RECEIVER])


def _prunable(picked: Head | None, found: Circuit) -> Head | None:
    """A picked induction head is looked at, not pruned: pruning it leaves every other head's matching as it was."""
    return None if picked in found.induction else picked


def _numbers(place: st.delta_generator.DeltaGenerator, pruning: Pruning, title: str) -> None:
    before, after = pruning.clean.second_copy, pruning.pruned.second_copy
    lost = "" if np.isnan(pruning.gain_lost) else f", {gain_lost_words(pruning.gain_lost)} of the gain lost"
    changed = abs(after - before) >= 0.05
    digits = digits_that_add_up(before, after - before, after) if changed else 2
    place.metric(
        verbatim(title),
        f"{before:.{digits}f} → {after:.{digits}f} nats",
        delta=metric_change(after - before, digits) + lost,
        delta_color="inverse" if changed else "off",
        delta_arrow="auto" if changed else "off",
        help="Loss on the second copy, where induction works. Lower is better.",
        border=True,
        height="stretch",
    )
