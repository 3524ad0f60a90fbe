"""The parts of the verdicts page: the calls as shared work, sentences, intervals, the label map, placebo offsets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from core.ablation.outcomes import CausalMap
from core.attention.head_scores import HeadScores
from core.attention.scores import PLACEBO_SHIFTS
from core.attention.tables import Row
from core.figures.verdicts import (
    contrast_intervals,
    describe_intervals,
    describe_label_map,
    describe_placebo,
    label_map,
    placebo_bars,
)
from core.settings.experiment import MAX_EFFECT_FLOOR
from core.settings.provenance import measured_on
from core.sharing.commands import call_command, score_command
from core.sharing.facts import call_facts, score_facts
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.components.results import costs_of
from core.ui.frame.page import Page
from core.ui.frame.sentences import errors_as_sentences, verbatim
from core.verdicts.costs import cost_of, layers_to_measure
from core.verdicts.judgement import Judgement
from core.verdicts.labels import MATCHING
from core.verdicts.significance import SIGNIFICANCE
from core.verdicts.tables import placebo_rows, verdict_rows
from core.verdicts.words import judged_on, label_counts, ordered, sentence, worth_a_sentence

_MOST_INTERVALS = 16
_HOW = f"""
A score alone does not make an induction head. Here is what each head must pass.

1. **It looks where an induction head looks, and only because of the repeat.** On random tokens shown twice, it attends to the
   token after the earlier copy. The same head at the same positions on fresh tokens is its *control*; score less control is
   the **contrast**. A head that always looks a fixed distance back scores high on both, so its contrast is near 0.
2. **It is not chance.** A permutation test flips the sign of each sequence's contrast; the *q-value* is corrected for having
   asked about every head (Benjamini and Hochberg). It must be below {SIGNIFICANCE}.
3. **It is not small.** The contrast's 95 % interval (bootstrap over sequences) must lie wholly above the **effect floor**.
4. **What it does with what it sees** decides the label. *Copying* asks the weights whether looking at a token raises that
   token (+1) or lowers it (−1); *attribution* measures what the head adds to the right token's logit. Both positive:
   *induction*. A negative attribution, or negative copying and no attribution to speak of: *anti-induction*. Anything else:
   *matching, non-copying*. Where the two contradict each other, what was measured counts, and the sentence says both.

The sequences have several lengths, so that no head passes by a fixed distance. Norm scales that depend on the token are left
out of copying, and taken from the pass for attribution.
"""


@dataclass(frozen=True)
class Shown:
    """The verdicts, what removing heads costs as far as it is known, and what stands in the files.

    effects: None while nothing is known.
    """

    judged: Judgement
    effects: CausalMap | None
    source: Source

    def rows(self) -> list[Row]:
        """Every verdict as a row."""
        return verdict_rows(self.judged, self.effects)


def costs(page: Page, judged: Judgement) -> CausalMap | None:
    """What removing heads costs, as far as it is known; the layers that matter are measured, with progress in this place.

    What cannot be measured is said in one sentence, and takes nothing from the verdicts.
    """
    with errors_as_sentences():
        return costs_of(page.subject, page.view.experiment.mode, layers_to_measure(worth_a_sentence(judged)))
    return None


def shown(page: Page, judged: Judgement, effects: CausalMap | None) -> Shown:
    """Everything that the page shows."""
    facts = partial(call_facts, page.subject, judged, effects)
    source = Source(judged_on(judged, page.subject), call_command(page.view), facts, f"{page.stem}-verdicts")
    return Shown(judged, effects, source)


def absent_at_every_length(judged: Judgement) -> None:
    """A banner where no length shows the behaviour."""
    if judged.behaviour == "absent":
        st.warning(
            "**The behaviour is absent at every length that was tested**, so the labels below describe where heads look, "
            "not that the model does induction. Do not trust them as verdicts.",
            icon=":material/warning:",
        )


def floor_slider() -> None:
    """The effect floor; moving it computes nothing."""
    st.slider(
        "Effect floor",
        0.0,
        MAX_EFFECT_FLOOR,
        step=0.01,
        key="effect_floor",
        help="A head is called only if the whole interval of its contrast is above this. Moving it computes nothing again.",
    )


def explanation() -> None:
    """How a call is made."""
    with st.expander("How is a head called?", icon=":material/gavel:"):
        st.markdown(_HOW)


def sentences(page: Page, found: Shown) -> None:
    """What a student can read out: one sentence for each head that has a label, called heads first."""
    if not found.judged.called:
        st.info("No head is called: none passes the test with its whole interval above the floor.", icon=":material/info:")
    told = worth_a_sentence(found.judged)
    st.markdown("\n".join(f"- {_emphasised(sentence(v, found.judged, found.effects))}" for v in told))
    more = sum(verdict.label != "none" for verdict in found.judged.verdicts) - len(told)
    if more:
        st.caption(f"{more} more labels are in the table.")
    if told:
        st.caption(verbatim(_about_costs(page, found)))


def interval_panel(page: Page, found: Shown) -> None:
    """The contrasts that decide, with their intervals: called heads, then the nearest to being called."""
    verdicts = ordered(found.judged)
    called = [verdict for verdict in verdicts if verdict.label in MATCHING]
    others = sorted((v for v in verdicts if v.label not in MATCHING), key=lambda v: -max(v.contrast, v.induction))
    listed = [*called[:_MOST_INTERVALS], *others[: max(3, _MOST_INTERVALS - len(called))]]
    floor = found.judged.floor
    figure_panel(
        contrast_intervals(listed, floor, page.look),
        key="intervals",
        alt=describe_intervals(listed, floor),
        rows=found.rows,
        source=found.source,
    )


def map_panel(page: Page, found: Shown) -> None:
    """The label of every head by layer and head."""
    st.caption(f"{label_counts(found.judged)}.")
    figure_panel(
        label_map(found.judged.verdicts, page.view.head, page.look),
        key="labels",
        alt=describe_label_map(found.judged.verdicts),
        rows=found.rows,
        source=found.source,
    )


def placebo_panel(page: Page, scores: HeadScores, found: Shown) -> None:
    """One head at the induction offset and at ten others: the picked head, else the first of the list."""
    first = ordered(found.judged)[0]
    head = page.view.head or first.head
    name, length = head.name, scores.layout.length
    by_shift = dict(zip(PLACEBO_SHIFTS, scores.placebo.mean(-1)[:, *head], strict=True))
    by_shift[0] = scores.mean("induction")[head]
    # Short sequences have no token that far back, or only the current one.
    shifts = [shift for shift in sorted(by_shift) if length - 1 + shift > 0]
    control = float(scores.per_sequence["induction_control"].mean(-1)[head]) if scores.has_control else None
    offsets, values = [length - 1 + shift for shift in shifts], np.array([by_shift[shift] for shift in shifts])
    st.subheader(f"Placebo offsets of {name}", anchor=False)
    st.markdown(
        f"How much {name} looks at the token after the earlier copy, and at tokens a few places beside it. Broad attention "
        "makes many bars. An induction head has one, and loses it when the second half is fresh tokens (last bar); a "
        "positional impostor keeps it."
    )
    facts = partial(score_facts, page.subject, scores)
    source = Source(measured_on(page.subject), score_command(page.view), facts, f"{page.stem}-placebo")
    figure_panel(
        placebo_bars(name, offsets, values, control, length, page.look),
        key="placebo",
        alt=describe_placebo(name, offsets, values, control, length),
        rows=partial(placebo_rows, name, offsets, [float(value) for value in values], length),
        source=source,
        on_pick=None,
    )


def table(found: Shown) -> None:
    """Every head with the numbers that gave its label."""
    numbers = ("contrast", "low", "high", "copying", "attribution", "induction", "previous_token", "duplicate_token", "sink")
    first = ("head", "label", "contrast", "low", "high", "q", "copying", "attribution", "cost", "random_heads")
    every = found.rows()
    unknown = {name for name in ("cost", "random_heads") if all(row[name] is None for row in every)}
    hidden = {"sentence"} | unknown
    names = [name for name in dict.fromkeys((*first, *every[0])) if name not in hidden]
    rows = [{name: _shown(name, row[name]) for name in names} for row in every]
    st.dataframe(
        rows,
        hide_index=True,
        height="content" if len(rows) <= 12 else 460,
        column_config={name: st.column_config.NumberColumn(name.replace("_", " "), format="%.2f") for name in numbers}
        | {
            "q": st.column_config.NumberColumn(format="%.4f", help="Below 0.05 the contrast is not chance."),
            "low": st.column_config.NumberColumn("from", format="%.2f", help="Lower end of the contrast's 95 % interval."),
            "high": st.column_config.NumberColumn("to", format="%.2f", help="Upper end of the contrast's 95 % interval."),
            "cost": st.column_config.NumberColumn("cost (nats)", format="%.2f", help="Of removing this head alone."),
            "random_heads": st.column_config.NumberColumn(
                "random (nats)", format="%.2f", help="The median cost of the heads of its layer that are not called."
            ),
        },
    )


def _shown(name: str, value: object) -> object:
    """Two digits, and no -0.00; the q-value in full."""
    return round(value, 2) + 0.0 if isinstance(value, float) and name != "q" else value


def _emphasised(text: str) -> str:
    """The head and its label in bold."""
    verdict, _, rest = text.partition(". ")
    return f"**{verbatim(verdict)}.** {verbatim(rest)}"


def _about_costs(page: Page, found: Shown) -> str:
    if found.effects is None:
        return "What removing these heads costs is added to the sentences as soon as it is measured."
    view = page.view
    said = (
        f"Costs are of removing one head alone ({view.experiment.mode} ablation), in loss on the second copy, measured on "
        f"{measured_on(page.subject)}. Random heads: the median of the others in its "
        "layer that are not called"
    )
    full = sorted({v.head.layer for v in found.judged.called if cost_of(v, found.judged, found.effects).lacks_random_heads})
    if not full:
        return f"{said}."
    layers = "layer" if len(full) == 1 else "layers"
    return f"{said}; in {layers} {', '.join(map(str, full))} every head is called, so there are none."
