"""The parts of the causal map page: the exact map, the estimate, score against effect, the picked head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from jaxtyping import Float

from core.ablation.outcomes import CausalMap
from core.ablation.quadrants import QUADRANTS, quadrants
from core.ablation.tables import effect_rows
from core.ablation.words import agreement_sentence
from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.figures.ablation.effect_map import describe_effect_map, effect_map, effect_overlay
from core.figures.ablation.score_effect import describe_score_effect, score_effect, score_effect_overlay
from core.numbers import signed
from core.settings.provenance import measured_on
from core.sharing.commands import causal_command
from core.sharing.facts import causal_facts
from core.stats import Agreement, rank_agreement
from core.transformer.card import ModelCard
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.navigation import open_its_card, see_where_it_looks
from core.ui.frame.page import Page

# A model with fewer weights than this is measured without being asked: seconds.
_SMALL_MODEL = 20_000_000


@dataclass(frozen=True)
class Effects:
    """What is known of every head's effect: exact as far as measured (NaN elsewhere), and the estimate."""

    scores: HeadScores
    exact: Float[np.ndarray, "n_layers n_heads"]
    estimate: Float[np.ndarray, "n_layers n_heads"]

    @staticmethod
    def of(scores: HeadScores, exact: CausalMap | None, estimate: Float[np.ndarray, "n_layers n_heads"]) -> Effects:
        """From a map that may be partial or missing."""
        return Effects(scores, np.full(estimate.shape, np.nan) if exact is None else exact.effect, estimate)

    @property
    def measured(self) -> int:
        """Heads whose exact effect is known."""
        return int((~np.isnan(self.exact)).sum())

    @property
    def shown(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """The exact effects, or the estimate while there are none."""
        return self.exact if self.measured else self.estimate

    @property
    def shown_are(self) -> str:
        """What `shown` holds, in a word or two."""
        return "exact" if self.measured == self.exact.size else f"exact, {self.measured} of {self.exact.size} heads"

    def agreement(self) -> Agreement:
        """Of the estimate and the exact effect, over measured heads."""
        return rank_agreement(self.estimate, self.exact)


def exact_wanted(card: ModelCard, known: CausalMap | None, asked: str) -> bool:
    """Whether to measure exactly: small models always, large ones when the person presses the button for `asked`."""
    if card.n_params < _SMALL_MODEL or (known is not None and known.complete):
        return True
    wanted: set[str] = st.session_state.setdefault("exact_maps", set())
    if asked in wanted:
        return True
    heads = card.n_layers * card.n_heads
    label = f"Measure all {heads} heads exactly" if known is None else "Measure the other layers, too"
    st.button(label, on_click=wanted.add, args=(asked,), icon=":material/bolt:", type="primary")
    st.caption(
        f"Each of the {heads} heads is taken away alone. Layers that are done are kept, so you can cancel and go on later."
    )
    return False


def maps(page: Page, effects: Effects, source: Source) -> None:
    """The exact map and the estimate side by side."""
    left, right = (st.container(), st.container()) if page.look.large else st.columns(2, gap="large")
    with left:
        st.subheader(f"Measured ({effects.shown_are})" if effects.measured else "Measured", anchor=False)
        if effects.measured:
            _map(page, effects, effects.exact, "exact", source)
        else:
            st.caption("No head is measured yet; the estimate needs no measuring.")
    with right:
        st.subheader("Estimated from the gradient", anchor=False)
        _map(page, effects, effects.estimate, "estimate", source)
    if effects.measured:
        st.markdown(agreement_sentence(effects.agreement(), "Estimate and measurement"))


def scatter(page: Page, effects: Effects, source: Source) -> None:
    """The score against the effect: exact where it is known, the estimate before."""
    view = page.view
    values = effects.scores.mean(view.score)
    shown, floor = (values, view.score, effects.shown), view.experiment.floor
    if not effects.measured:
        st.caption("These effects are the estimate, until heads are measured.")
    elif effects.measured < effects.exact.size:
        st.caption(f"Only the {effects.measured} of {effects.exact.size} heads that are measured so far.")
    figure_panel(
        score_effect(*shown, floor, view.head, page.look),
        key="score-effect",
        alt=describe_score_effect(effects.shown, view.score, floor),
        rows=partial(_rows, page, effects),
        source=source,
        overlay=score_effect_overlay(*shown, view.threshold, floor, page.look),
    )


def scatter_sentence(page: Page, effects: Effects) -> str:
    """Do the score and the effect order the heads alike?"""
    view = page.view
    values = effects.scores.mean(view.score)
    return agreement_sentence(rank_agreement(values, effects.shown), f"{ALL_SCORES[view.score].title} and effect")


def picked_head(page: Page, effects: Effects) -> None:
    """Both numbers of the picked head, its quadrant, and the way to its attention."""
    head = page.view.head
    if head is None:
        st.markdown("**No head picked.** Click one in a picture.")
        return
    view = page.view
    values = effects.scores.mean(view.score)
    st.markdown(f"#### {head.name}")
    found = quadrants(values, effects.shown, view.threshold, view.experiment.floor)
    where = next((QUADRANTS[name] for name, heads in found.items() if head in heads), "not measured yet")
    exact = effects.exact[head]
    rows = [
        {"": ALL_SCORES[view.score].title, "value": f"{values[head]:.2f}"},
        {"": "effect, measured", "value": "not yet" if np.isnan(exact) else f"{signed(exact)} nats"},
        {"": "effect, estimated", "value": f"{signed(effects.estimate[head])} nats"},
        {"": "so it", "value": where},
    ]
    st.table(rows, border="horizontal", hide_index=True, hide_header=True)
    see_where_it_looks()
    open_its_card()


def source_of(page: Page, known: CausalMap | None, effects: Effects) -> Source:
    """What the files of this page say."""
    losses, mode = effects.scores.losses(), page.view.experiment.mode
    facts = partial(causal_facts, page.subject, mode, losses, known, effects.estimate)
    return Source(measured_on(page.subject), causal_command(page.view), facts, f"{page.stem}-causal")


def _map(page: Page, effects: Effects, effect: Float[np.ndarray, "n_layers n_heads"], key: str, source: Source) -> None:
    view = page.view
    title = "Change in second-copy loss (nats)"
    values = effects.scores.mean(view.score)
    figure_panel(
        effect_map(effect, values, view.score, view.head, page.look, title=title),
        key=f"map-{key}",
        alt=describe_effect_map(effect, f"{title}, {key}"),
        rows=partial(_rows, page, effects),
        source=source,
        overlay=effect_overlay(values, view.score, view.threshold, page.look),
    )


def _rows(page: Page, effects: Effects) -> list[dict[str, object]]:
    view = page.view
    return effect_rows(effects.scores, view.score, effects.exact, effects.estimate, view.threshold, view.experiment.floor)
