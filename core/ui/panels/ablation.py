"""The parts of the ablation page: the head set, the numbers, random heads beside them, positions, single heads."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from core.ablation.cached import Ablation, Controls
from core.ablation.tables import ablate_command, beside_rows, page_json
from core.ablation.words import against_controls, controls_note, head_count, sufficiency, unknown_words, whole_and_parts
from core.attention.scores import HeadScores
from core.attention.tables import head_rows
from core.figures.ablation.beside_baselines import BesideRow, beside_controls, describe_beside
from core.figures.ablation.positions import describe_positions, position_losses, position_rows
from core.figures.ablation.single_effects import describe_single_effects, single_effect_bars, single_effect_rows
from core.figures.attention.heatmap import describe_heatmap, heatmap_marks, score_heatmap
from core.heads import Head, HeadSet, all_but
from core.settings.experiment import named
from core.settings.view import measured_on
from core.ui.components.experiment_controls import paragraph_control, toggle_head
from core.ui.components.experiments import kept_alone, singles_of, text_ablation_of
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.page import Page
from core.ui.frame.sentences import metric_change, plain

# More heads than this are looked at on the causal map.
MOST_SINGLES = 12
_NAMED = 10


def set_map(page: Page, scores: HeadScores, above: tuple[Head, ...], heads: HeadSet, source: Source) -> None:
    """The score map with a cross on each head that is taken away; a click adds a head or takes it out."""
    view = page.view
    shown = (scores, view.score, view.threshold)
    figure_panel(
        score_heatmap(scores, view.score, None, page.look, crossed=heads),
        key="set-map",
        alt=f"{describe_heatmap(scores, view.score)} Crosses: {named(heads) or 'none'}.",
        rows=partial(head_rows, *shown),
        source=source,
        marks=heatmap_marks(*shown, page.look),
        on_pick=partial(toggle_head, above=above),
        click_again=True,
    )


def set_sentence(heads: HeadSet) -> str:
    """The head set in words."""
    names = named(heads[:_NAMED]).replace(",", ", ")
    more = f" and {len(heads) - _NAMED} more" if len(heads) > _NAMED else ""
    return f"{head_count(len(heads))} taken away: {names}{more}"


def numbers(page: Page, result: Ablation) -> None:
    """Before and after, as large as the page allows; plain text comes when it is there."""
    before, after = result.clean_losses, result.ablated_losses
    second, fraction = st.columns(2)
    _before_after(second, "Second copy", before.second_copy, after.second_copy, "Where induction works. Lower is better.")
    fraction.metric(
        "Gain lost",
        "none to lose" if np.isnan(result.recovered_fraction) else f"{result.recovered_fraction:.0%}",
        help="The recovered fraction of the damage: the rise in second-copy loss, as a share of how much better the second "
        "copy was predicted than the first. 100 %: the second copy is now as hard as the first.",
        border=True,
        height="stretch",
    )
    first, text = st.columns(2)
    _before_after(first, "First copy", before.first_copy, after.first_copy, "Random tokens that nothing can predict.")
    with text:
        _plain_text(page, result)


def _plain_text(page: Page, result: Ablation) -> None:
    if page.identity.tokenizer is None:
        st.caption("This model came without a tokenizer, so plain text cannot be measured on it.")
        return
    found = text_ablation_of(page.view.request, result.heads, result.mode, page.view.experiment.paragraph)
    if found is not None and found.text is not None:
        clean, ablated = (float(np.nanmean(loss)) for loss in found.text)
        _before_after(st.container(), "Plain text", clean, ablated, "A token of ordinary text; change the text below.")


def random_heads(page: Page, result: Ablation, controls: Controls | None, source: Source) -> None:
    """The same numbers on one line, with random heads beside them as soon as they are there."""
    losses = np.empty(0) if controls is None else controls.second_copy
    row = BesideRow(head_count(len(result.heads)), result.ablated_losses.second_copy, losses)
    figure_panel(
        beside_controls([row], result.clean_losses, page.look),
        key="beside",
        alt=describe_beside([row], result.clean_losses),
        rows=beside_rows(result, controls),
        source=source,
        on_pick=None,
    )


def control_sentences(result: Ablation, controls: Controls) -> None:
    """What the comparison says, and how the random sets were drawn."""
    st.markdown(against_controls(result, controls))
    st.caption(controls_note(controls))


def position_panel(page: Page, result: Ablation, controls: Controls | None, source: Source) -> None:
    """The loss at every position."""
    clean, ablated = result.clean.mean(0), result.ablated.mean(0)
    band = None if controls is None else controls.token_loss
    figure_panel(
        position_losses(clean, ablated, band, result.layout, page.look),
        key="positions",
        alt=describe_positions(clean, ablated, band is not None, result.layout),
        rows=position_rows(clean, ablated, band, result.layout),
        source=source,
        on_pick=None,
    )


def single_heads(page: Page, result: Ablation, source: Source) -> None:
    """Each head alone against all together."""
    if len(result.heads) > MOST_SINGLES:
        st.info(f"The set has {len(result.heads)} heads; every head alone is on the causal map.", icon=":material/info:")
        st.page_link("pages/4_Causal_map.py", label="Causal map", icon=":material/bolt:")
        return
    effects = singles_of(page.view.request, result.heads, result.mode)
    if effects is None:
        return
    joint = result.ablated_losses.second_copy - result.clean_losses.second_copy
    st.markdown(whole_and_parts(effects, joint))
    figure_panel(
        single_effect_bars(result.heads, effects, joint, page.look),
        key="singles",
        alt=describe_single_effects(result.heads, effects, joint),
        rows=single_effect_rows(result.heads, effects, joint),
        source=source,
        on_pick=None,
    )


def plain_text_editor(page: Page) -> None:
    """The text that specificity is measured on, and whether this model can read it."""
    if page.identity.tokenizer is None:
        return
    unread = unknown_words(page.identity, page.view.experiment.paragraph)
    with st.expander("The plain text", icon=":material/edit:"):
        paragraph_control()
    if unread:
        st.caption(f":material/warning: {plain(unread)}")


def keep_only(page: Page, result: Ablation) -> None:
    """Are these heads enough?"""
    card = page.identity.card
    found = kept_alone(page.view.request, all_but(result.heads, card.n_layers, card.n_heads), result.mode)
    if found is not None:
        st.markdown(sufficiency(found, len(result.heads)))


def source_of(page: Page, heads: HeadSet, result: Ablation | None = None, controls: Controls | None = None) -> Source:
    """What the files of this page say."""
    facts: dict[str, object] = {"heads": named(heads).split(",") if heads else []}
    if result is not None:
        clean, ablated = result.clean_losses, result.ablated_losses
        facts["loss"] = {
            "clean": {"first_copy": clean.first_copy, "second_copy": clean.second_copy},
            "ablated": {"first_copy": ablated.first_copy, "second_copy": ablated.second_copy},
        }
        facts["recovered_fraction"] = result.recovered_fraction
        facts["per_position"] = {"clean": result.clean.mean(0), "ablated": result.ablated.mean(0)}
    if controls is not None:
        low, high, mean = controls.band
        sets = [named(found).split(",") for found in controls.sets]
        facts["control"] = {"sets": sets, "second_copy": controls.second_copy, "mean": mean, "low": low, "high": high}
    view, identity = page.view, page.identity
    return Source(
        measured_on(view.request.probe(identity), identity),
        ablate_command(view, heads),
        page_json(view, identity, **facts),
        f"headscope-{identity.card.name.replace('/', '--')}-ablation",
    )


def _before_after(place: st.delta_generator.DeltaGenerator, label: str, before: float, after: float, help_text: str) -> None:
    place.metric(
        f"{label} (nats)",
        f"{before:.2f} → {after:.2f}",
        delta=metric_change(after - before),
        delta_color="inverse" if abs(after - before) >= 0.005 else "off",
        help=plain(help_text),
        border=True,
        height="stretch",
    )
