"""The parts of the causal map page: the map, score against effect, the picked head."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st
from jaxtyping import Float

from core.ablation.effects import Effects
from core.ablation.outcomes import CausalMap
from core.ablation.quadrants import QUADRANTS, quadrants
from core.ablation.screening import ALWAYS_EXACT_LAYERS
from core.ablation.tables import effect_rows
from core.ablation.words import agreement_sentence, sides_sentence
from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.figures.ablation.effect_map import describe_effect_map, effect_map, effect_overlay
from core.figures.ablation.score_effect import describe_score_effect, intervals_cut_off, score_effect, score_effect_overlay
from core.figures.base.memo import drawn
from core.figures.base.number_table import small_table_html
from core.numbers import signed, signed_interval
from core.settings.provenance import measured_on
from core.sharing.commands import causal_command
from core.sharing.facts import causal_facts
from core.stats import rank_agreement
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.navigation import open_its_card, see_where_it_looks
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim

Estimate = Float[np.ndarray, "n_layers n_heads"] | None


def the_map(page: Page, scores: HeadScores, found: CausalMap | None, estimate: Estimate, source: Source) -> None:
    """Every head's effect: measured, or estimated and marked as that."""
    view = page.view
    values, effects = scores.mean(view.score), Effects.of(found, estimate, scores.exists)
    figure_panel(
        drawn(effect_map, effects, values, view.score, view.head, page.look),
        key="map",
        alt=describe_effect_map(effects),
        rows=partial(_rows, page, scores, found, estimate),
        source=source,
        overlay=effect_overlay(values, view.score, view.threshold, page.look),
    )
    if effects.estimated:
        st.caption(
            "≈: estimated from the gradient, which is wrong in size and sometimes in sign, so it only says what is measured "
            f"first. In models of up to {ALWAYS_EXACT_LAYERS} layers nothing is estimated."
        )


def scatter(page: Page, scores: HeadScores, found: CausalMap, source: Source) -> None:
    """The score against the measured effect of every head, and whether the two order the heads alike."""
    view = page.view
    values, floor = scores.mean(view.score), view.experiment.floor
    effects = Effects.of(found, None, scores.exists)
    st.markdown(agreement_sentence(rank_agreement(values, effects.effect), f"{ALL_SCORES[view.score].title} and effect"))
    st.caption(verbatim(sides_sentence(effects, floor)))
    figure_panel(
        drawn(score_effect, values, view.score, effects, floor, view.head, page.look),
        key="score-effect",
        alt=describe_score_effect(effects, view.score, floor),
        rows=partial(_rows, page, scores, found, None),
        source=source,
        overlay=score_effect_overlay(values, view.score, effects, view.threshold, floor, page.look),
    )
    if cut := intervals_cut_off(effects, floor):
        st.caption(verbatim(cut))


def picked_head(page: Page, scores: HeadScores, found: CausalMap | None, estimate: Estimate) -> None:
    """The numbers of the picked head, its quadrant once every head is measured, and the way to its attention."""
    head = page.view.head
    if head is None:
        st.markdown("**No head picked.** Click one in a picture.")
        return
    view = page.view
    values, effects = scores.mean(view.score), Effects.of(found, estimate, scores.exists)
    st.header(head.name, anchor=False)
    rows = [{"what": ALL_SCORES[view.score].title, "value": "–" if np.isnan(values[head]) else f"{values[head]:.2f}"}]
    if effects.measured[head]:
        rows.append({"what": "effect, measured", "value": f"{signed(effects.effect[head])} nats"})
        low, high = effects.low[head], effects.high[head]
        rows.append({"what": "its 95 % interval", "value": signed_interval(low, high)})
    elif head in effects.estimated:
        rows.append({"what": "effect, only estimated", "value": f"{signed(effects.estimate[head])} nats"})
    if effects.complete:
        parts = quadrants(values, effects.effect, view.threshold, view.experiment.floor)
        so = "so it, by its mean effect" if effects.has_intervals else "on this one sequence it"
        rows += [{"what": so, "value": QUADRANTS[name]} for name, heads in parts.items() if head in heads]
    st.html(small_table_html(rows, {"what": "number", "value": "value"}, f"Numbers of {head.name}", page.look, {}))
    see_where_it_looks()
    open_its_card()


def source_of(page: Page, scores: HeadScores, found: CausalMap | None, estimate: Estimate) -> Source:
    """What the files of this page say."""
    facts = partial(causal_facts, page.subject, page.view.experiment.mode, scores.losses(), found, estimate)
    return Source(measured_on(page.subject), causal_command(page.view), facts, f"{page.stem}-causal")


def _rows(page: Page, scores: HeadScores, found: CausalMap | None, estimate: Estimate) -> list[dict[str, object]]:
    view = page.view
    return effect_rows(scores, view.score, found, estimate, view.threshold, view.experiment.floor)
