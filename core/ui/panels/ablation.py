"""The parts of the ablation page: the head set, the numbers, other heads beside them, positions, single heads."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from core.ablation.cached import ablate, random_baselines, total_effect
from core.ablation.outcomes import Ablation, Baselines
from core.ablation.subjects import heads_of
from core.ablation.tables import beside_rows
from core.ablation.words import (
    gain_lost_words,
    patched_in_sentence,
    sufficiency,
    total_effect_sentence,
    unknown_words,
    whole_and_parts,
)
from core.attention.cached import known_scores, score_heads
from core.attention.head_scores import HeadScores
from core.attention.tables import head_rows
from core.figures.ablation.beside_baselines import BesideRow, beside_baselines, describe_beside
from core.figures.ablation.positions import describe_positions, position_losses, position_rows
from core.figures.ablation.single_effects import describe_single_effects, single_effect_bars, single_effect_rows
from core.figures.attention.heatmap import describe_heatmap, score_heatmap, set_overlay
from core.figures.base.memo import drawn
from core.glossary import help_on
from core.heads import Head, HeadSet, names
from core.numbers import counted, digits_that_add_up
from core.runtime.cache import if_cached
from core.settings.provenance import measured_on
from core.sharing.commands import ablate_command, score_command
from core.sharing.facts import Facts, ablation_facts, score_facts
from core.text.paragraph import measured_text, unread, why_left_out
from core.ui.components.experiment_controls import paragraph_control, toggle_head
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.components.results import kept_alone, patched_in_of, singles_of, text_ablation_of, total_effect_of
from core.ui.frame.navigation import CAUSAL_MAP
from core.ui.frame.page import Page
from core.ui.frame.sentences import metric_change, verbatim

# More heads than this are looked at on the causal map.
MOST_SINGLES = 12
_NAMED = 10
_SHOWN = "ablation_shown"
_MARKS = "Diamond: without this set. Rings: other sets, and their range. Bar: without any head of the same layers."


def set_map(page: Page, scores: HeadScores, above: tuple[Head, ...], source: Source) -> None:
    """The score map with a cross on each head that is taken away; a click adds a head or takes it out."""
    view = page.view
    shown = (scores, view.score, view.threshold)
    picked = () if view.experiment.source == "threshold" else view.experiment.heads
    figure_panel(
        drawn(score_heatmap, scores, view.score, None, page.look),
        key="set-map",
        alt=describe_heatmap(scores, view.score),
        rows=partial(head_rows, *shown),
        source=source,
        overlay=set_overlay(*shown, picked, view.experiment.source != "picked", page.look),
        on_pick=partial(toggle_head, above=above),
        click_again=True,
    )


def set_sentence(heads: HeadSet) -> str:
    """The head set in words."""
    listed = ", ".join(names(heads[:_NAMED]))
    more = f" and {len(heads) - _NAMED} more" if len(heads) > _NAMED else ""
    return f"{counted(len(heads), 'head')} taken away: {listed}{more}"


def numbers(page: Page, result: Ablation) -> None:
    """Before and after, as large as the page allows; the text comes when it is there."""
    before, after = result.clean_losses, result.ablated_losses
    second, fraction = st.columns(2)
    _before_after(second, "Second copy", before.second_copy, after.second_copy, f"Where induction works. {help_on('nats')}")
    fraction.metric(
        "Gain lost",
        gain_lost_words(result.gain_lost),
        help="The rise in second-copy loss, as a share of how much better the second "
        "copy was predicted than the first. 100 %: the second copy is now as hard as the first.",
        border=True,
        height="stretch",
    )
    first, text = st.columns(2)
    _before_after(first, "First copy", before.first_copy, after.first_copy, "Random tokens that nothing can predict.")
    with text:
        _text_losses(page, result)


def _text_losses(page: Page, result: Ablation) -> None:
    text = measured_text(page.view.experiment.paragraph)
    if left_out := why_left_out(page.subject.identity, text):
        st.caption(verbatim(left_out))
        return
    found = text_ablation_of(page.subject, result.heads, result.mode, text)
    if found is not None and found.text is not None:
        clean, ablated = (float(np.nanmean(loss)) for loss in found.text)
        _before_after(
            st.container(),
            "Text",
            clean,
            ablated,
            "A token of ordinary text; change the text below. "
            "Where a mean stands in for the heads, it is their mean over this text.",
        )


def effect_on_logit(page: Page, heads: HeadSet) -> None:
    """The total effect, as soon as it is there."""
    found = total_effect_of(page.subject, heads, page.view.experiment.mode)
    if found is not None:
        st.markdown(total_effect_sentence(found))


def other_heads(page: Page, result: Ablation, baselines: Baselines | None, source: Source) -> None:
    """The same numbers on one line, with other heads beside them as soon as they are there."""
    losses = np.empty(0) if baselines is None else baselines.second_copy
    bound = None if baselines is None or not baselines.sets else baselines.bound
    row = BesideRow(counted(len(result.heads), "head"), result.ablated_losses.second_copy, losses, bound)
    figure_panel(
        drawn(beside_baselines, [row], result.clean_losses, page.look),
        key="beside",
        alt=describe_beside([row], result.clean_losses),
        rows=partial(beside_rows, result, baselines),
        source=source,
        on_pick=None,
    )


def how_drawn(baselines: Baselines) -> None:
    """How the other sets were drawn."""
    if baselines.sets:
        st.caption(f"{_MARKS} {baselines.note}")


def remember_set(page: Page, result: Ablation) -> None:
    """Keep in mind which set is on screen."""
    st.session_state[_SHOWN] = (page.subject.digest, result)


def set_before(page: Page) -> Ablation | None:
    """What was on screen of the same model and probe, until there is something newer."""
    digest, result = st.session_state.get(_SHOWN, ("", None))
    return result if digest == page.subject.digest else None


def position_panel(page: Page, result: Ablation, baselines: Baselines | None, source: Source) -> None:
    """The loss at every position."""
    clean, ablated = result.clean.mean(0), result.ablated.mean(0)
    others = None if baselines is None or not baselines.sets else baselines.token_loss
    figure_panel(
        drawn(position_losses, clean, ablated, others, result.layout, page.look),
        key="positions",
        alt=describe_positions(clean, ablated, others is not None, result.layout),
        rows=partial(position_rows, clean, ablated, others, result.layout),
        source=source,
        on_pick=None,
    )


def single_heads(page: Page, result: Ablation, source: Source) -> None:
    """Each head alone against all together."""
    if len(result.heads) > MOST_SINGLES:
        st.info(
            f"The set has {counted(len(result.heads), 'head')}; every head alone is on the causal map.", icon=":material/info:"
        )
        CAUSAL_MAP.link()
        return
    effects = singles_of(page.subject, result.heads, result.mode)
    if effects is None:
        return
    joint = result.ablated_losses.second_copy - result.clean_losses.second_copy
    st.markdown(whole_and_parts(effects, joint))
    figure_panel(
        drawn(single_effect_bars, result.heads, effects, joint, page.look),
        key="singles",
        alt=describe_single_effects(result.heads, effects, joint),
        rows=partial(single_effect_rows, result.heads, effects, joint),
        source=source,
        on_pick=None,
    )


def text_editor(page: Page) -> None:
    """The text that specificity is measured on, and whether this model can read it."""
    if page.subject.identity.tokenizer is None:
        return
    identity, found = page.subject.identity, unread(page.subject, measured_text(page.view.experiment.paragraph))
    with st.expander("The text", icon=":material/edit:"):
        paragraph_control()
    if said := unknown_words(identity.card.name, found.unknown, found.tokens):
        st.caption(f":material/warning: {verbatim(said)}")


def keep_only(page: Page, result: Ablation) -> None:
    """Are these heads enough? Everything else removed, and they alone put where nothing else could help."""
    others = tuple(head for head in heads_of(page.subject) if head not in result.heads)
    found = kept_alone(page.subject, others, result.mode)
    if found is not None:
        st.markdown(sufficiency(found, len(result.heads)))
    if page.subject.probe.control is not None:
        patched = patched_in_of(page.subject, result.heads)
        if patched is not None:
            st.markdown(patched_in_sentence(patched))


def source_of(page: Page, heads: HeadSet) -> Source:
    """What the files of this page say; where no head is taken away yet, the scores that are shown."""
    about, subject = measured_on(page.subject), page.subject
    if not heads:
        return Source(
            about,
            score_command(page.view),
            lambda: score_facts(subject, known_scores(subject, "induction") or score_heads(subject)),
            page.stem,
        )
    return Source(about, ablate_command(page.view, heads), partial(_facts, page, heads), f"{page.stem}-ablation")


def _facts(page: Page, heads: HeadSet) -> Facts:
    """Everything that is known of the set when somebody asks: the text and the other sets come after the first numbers."""
    subject, mode, text = page.subject, page.view.experiment.mode, measured_text(page.view.experiment.paragraph)
    with_text = partial(ablate, subject, heads, mode, text=text)
    result = if_cached(with_text) or if_cached(partial(ablate, subject, heads, mode, text=None))
    effect = if_cached(partial(total_effect, subject, heads, mode))
    beside = if_cached(partial(random_baselines, subject, heads, mode))
    return ablation_facts(subject, heads, mode, result, effect, beside, text)


def _before_after(place: st.delta_generator.DeltaGenerator, label: str, before: float, after: float, help_text: str) -> None:
    changed = abs(after - before) >= 0.005
    digits = digits_that_add_up(before, after - before, after) if changed else 2
    place.metric(
        f"{label} (nats)",
        f"{before:.{digits}f} → {after:.{digits}f}",
        delta=metric_change(after - before, digits),
        delta_color="inverse" if changed else "off",
        delta_arrow="auto" if changed else "off",
        help=verbatim(help_text),
        border=True,
        height="stretch",
    )
