"""The parts of the verdicts page: the calls as shared work, sentences, intervals, the label map, placebo offsets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from core.ablation.screening import ALWAYS_EXACT_LAYERS
from core.attention.head_scores import HeadScores
from core.attention.scores import PLACEBO_SHIFTS
from core.attention.tables import Row
from core.errors import BadInput
from core.figures.base.memo import drawn
from core.figures.verdicts import (
    contrast_intervals,
    describe_intervals,
    describe_label_map,
    describe_placebo,
    floor_overlay,
    label_map,
    placebo_bars,
)
from core.heads import Head
from core.numbers import NOTHING
from core.runtime.cache import if_cached
from core.settings.experiment import MAX_EFFECT_FLOOR
from core.settings.provenance import measured_on
from core.settings.view import FLOOR_SLIDER
from core.sharing.commands import call_command, score_command
from core.sharing.facts import call_facts, score_facts
from core.text.cached import chosen_windows_of
from core.text.words import windows_words
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.components.folded import folded
from core.ui.components.readable_table import LABEL_WIDTH
from core.ui.components.results import nominees_of
from core.ui.frame.navigation import see_real_text
from core.ui.frame.page import Page
from core.ui.frame.sentences import errors_as_sentences, verbatim
from core.ui.frame.state import held
from core.verdicts.cached import judged_on_text
from core.verdicts.judgement import Judgement
from core.verdicts.labels import MATCHING
from core.verdicts.nominees import Nominee, with_their_effects
from core.verdicts.roles import DELTA
from core.verdicts.significance import SIGNIFICANCE
from core.verdicts.tables import NUMBERS, placebo_rows, verdict_rows
from core.verdicts.text_words import answer_sentence, outlier_sentences
from core.verdicts.words import (
    effects_words,
    judged_on,
    label_counts,
    nominee_sentence,
    ordered,
    sentence,
    stability_words,
    worth_a_sentence,
)

_MOST_INTERVALS = 16
# So many sentences stand open; of more, the first few.
_MOST_TOLD, _MOST_NOMINEES, _FIRST_TOLD = 8, 5, 4
_TITLES = {"contrast_low": "from", "contrast_high": "to", "total_effect_low": "from ", "total_effect_high": "to "}
_HELP = {
    "contrast_low": "Lower end of the contrast's 95 % interval.",
    "contrast_high": "Upper end of the contrast's 95 % interval.",
    "rotation_contrast": "The contrast where the second half starts elsewhere in the first.",
    "specificity": "How much more it looks at that token than at the nearest rival beside it.",
    "total_effect": "What the right token loses without the head, as a share of what the repeat is worth to the model: of "
    "heads that match or that matter without.",
    "total_effect_low": "Lower end of the total effect's 95 % interval.",
    "total_effect_high": "Upper end of the total effect's 95 % interval.",
    "direct_effect": "What the head itself writes for the right token, as a share of what the repeat is worth to the model.",
    "q": f"Below {SIGNIFICANCE} the contrast is not chance.",
    "copying": "By the weights: looking at a token raises it (+1) or lowers it (−1). Decides nothing.",
}
_HOW = f"""
A score alone does not make an induction head. Here is what each head must pass. Every number is a mean over sequences with
its 95 % interval (Student's t).

1. **It looks where an induction head looks, and only because of the repeat.** On random tokens shown twice, it attends to the
   token after the earlier copy. The same head at the same positions on fresh tokens is its *control*; score less control is
   the **contrast**, which must lie wholly above the **contrast floor**. A head that always looks a fixed distance back scores
   high on both, so its contrast is near 0.
2. **It follows the copy, not a distance.** When the second half starts elsewhere in the first, the copy's successor is at
   another distance; there the contrast must lie above the floor, too. A head that looks a fixed distance back whenever a token
   repeats fails here.
3. **It singles that token out.** It must look at it more than at any token one, two or three places beside it.
4. **It is not chance.** A permutation test flips the sign of each sequence's contrast; the *q-value* is corrected for having
   asked about every head (Benjamini and Hochberg). It must be below {SIGNIFICANCE}.
5. **What it does with what it sees** decides the label of a head that passes. Taken away alone, what does the right token
   lose, as a share of what the repeat is worth to the model? Surely more than {DELTA:g}: *induction*, directly if what the head
   itself writes is surely above 0 (in part directly if that is less than half of what is lost, hardly if less than a
   twentieth), else through later layers (in the last layer, through what still follows it there: at most its own MLP, and the
   final norm). Surely below −{DELTA:g}: *anti-induction*. Surely within: *matching, no effect*. None of these: *undecided*,
   more sequences would tell.

Heads are picked on some sequences and judged on others. The sequences have several lengths, and where the vocabulary is large
enough half are from its lower ids and half from its upper. *Copying*, whether the weights raise the token that is looked at
(+1) or lower it (−1), is in the table and decides nothing.
"""


@dataclass(frozen=True)
class Shown:
    """The verdicts, heads that matter without a label as far as they are known, and what stands in the files.

    nominees: None while they are not known.
    """

    judged: Judgement
    nominees: tuple[Nominee, ...] | None
    source: Source

    def rows(self) -> list[Row]:
        """Every verdict as a row, with the effects that its sentence or a nominee's tells."""
        return verdict_rows(with_their_effects(self.judged, self.nominees or ()))


def unexplained(page: Page, judged: Judgement) -> tuple[Nominee, ...] | None:
    """Heads that matter and do not match; measured with progress in this place, None until then."""
    with errors_as_sentences():
        return nominees_of(page.subject, judged.floor)
    return None


def shown(page: Page, judged: Judgement, found: tuple[Nominee, ...] | None) -> Shown:
    """Everything that the page shows."""
    facts = partial(call_facts, page.subject, judged, found)
    source = Source(judged_on(judged, page.subject), call_command(page.view), facts, f"{page.stem}-verdicts")
    return Shown(judged, found, source)


def absent_at_every_length(judged: Judgement) -> None:
    """A banner where no length shows the behaviour."""
    if judged.behaviour == "absent":
        st.warning(
            "**The behaviour is absent at every length that was tested**, so the labels below describe where heads look, "
            "not that the model does induction. Do not trust them as verdicts.",
            icon=":material/warning:",
        )


def floor_slider() -> None:
    """The contrast floor."""
    st.slider(
        FLOOR_SLIDER,
        0.0,
        MAX_EFFECT_FLOOR,
        held("effect_floor"),
        step=0.01,
        key="effect_floor",
        help="A head matches only if the whole interval of its contrast is above this. "
        "Raising it computes nothing again; lowering it takes away the heads that it lets in.",
    )


def explanation() -> None:
    """How a call is made."""
    with st.expander("How is a head judged?", icon=":material/gavel:"):
        st.markdown(_HOW)


def sentences(found: Shown) -> None:
    """What a student can read out: one sentence for each head that has a label, matching heads first, and what they rest on."""
    judged = found.judged
    if not judged.called:
        st.info("No head matches: none meets every condition.", icon=":material/info:")
    told = worth_a_sentence(judged)
    _told([sentence(verdict, judged) for verdict in told], _MOST_TOLD, "heads with a label", "told")
    more = sum(verdict.label != "none" for verdict in judged.verdicts) - len(told)
    if more:
        st.caption(f"{more} more labels are in the table.")
    for said in (effects_words(judged), stability_words(judged)):
        if said:
            st.caption(verbatim(said))


def _told(said: Sequence[str], most: int, what: str, key: str) -> None:
    """Sentences, one below the other; where there are more than `most`, the first few, and the others folded."""
    shown = len(said) if len(said) <= most else _FIRST_TOLD
    st.markdown(_listed(said[:shown]))
    rest = said[shown:]

    def others() -> None:
        st.markdown(_listed(rest))

    if rest:
        folded(f"{len(rest)} more {what}, a sentence each", key, others, ":material/notes:")


def _listed(said: Sequence[str]) -> str:
    return "\n".join(f"- {_emphasised(sentence)}" for sentence in said)


def on_text(page: Page, judged: Judgement) -> None:
    """Which of the heads do it on text, too, where that was measured; and the way there."""
    known = None
    with suppress(BadInput):  # a model without a tokenizer has no text: the page itself says so
        windows = chosen_windows_of(page.subject, page.view.text)
        known = if_cached(partial(judged_on_text, page.subject, windows, judged.floor))
    if known is not None:
        st.markdown(verbatim(f"{answer_sentence(known)} Lift over {windows_words(windows)}:"))
        st.markdown("\n".join(f"- {verbatim(sentence)}" for sentence in outlier_sentences(known)))
    see_real_text()


def nominee_panel(page: Page, found: Shown) -> None:
    """Heads that matter and that no label explains; says so where there are none."""
    if found.judged.behaviour != "present":
        st.caption("Asked only where the behaviour is present at some length.")
        return
    few = page.subject.card.n_layers <= ALWAYS_EXACT_LAYERS
    asked = "every head without a label" if few else "those without a label whose effect a gradient estimates as largest"
    st.caption(f"Asked: {asked}. A head with one, such as a previous-token head, may matter more: see the causal map.")
    if found.nominees:
        _told([nominee_sentence(nominee) for nominee in found.nominees], _MOST_NOMINEES, "heads that matter", "nominees")
    elif found.nominees is not None:
        st.caption("No head without a label surely matters, of those that were asked.")


def interval_panel(page: Page, found: Shown) -> None:
    """The contrasts that decide, with their intervals: called heads, then the nearest to being called."""
    verdicts = ordered(found.judged)
    called = [verdict for verdict in verdicts if verdict.label in MATCHING]
    others = sorted((v for v in verdicts if v.label not in MATCHING), key=lambda v: -max(v.contrast.value, v.induction.value))
    listed = [*called[:_MOST_INTERVALS], *others[: max(3, _MOST_INTERVALS - len(called))]]
    floor = found.judged.floor
    figure_panel(
        drawn(contrast_intervals, listed, page.view.head, page.look),
        key="intervals",
        overlay=drawn(floor_overlay, floor, page.look),
        alt=describe_intervals(listed, floor),
        rows=found.rows,
        source=found.source,
    )


def map_panel(page: Page, found: Shown) -> None:
    """The label of every head by layer and head."""
    st.caption(f"{label_counts(found.judged)}.")
    figure_panel(
        drawn(label_map, found.judged.verdicts, page.view.head, page.look),
        key="labels",
        alt=describe_label_map(found.judged.verdicts),
        rows=found.rows,
        source=found.source,
    )


def placebo_head(page: Page, found: Shown) -> Head:
    """The head whose placebo offsets are shown: the picked one, else the first of the list."""
    return page.view.head or ordered(found.judged)[0].head


def placebo_panel(page: Page, scores: HeadScores, found: Shown) -> None:
    """One head at the induction offset and at ten others."""
    head = placebo_head(page, found)
    name, length = head.name, scores.layout.length
    by_shift = dict(zip(PLACEBO_SHIFTS, scores.placebo.mean(-1)[:, *head], strict=True))
    by_shift[0] = scores.mean("induction")[head]
    # Short sequences have no token that far back, or only the current one.
    shifts = [shift for shift in sorted(by_shift) if length - 1 + shift > 0]
    control = float(scores.per_sequence["induction_control"].mean(-1)[head]) if scores.has_control else None
    offsets, values = [length - 1 + shift for shift in shifts], np.array([by_shift[shift] for shift in shifts])
    st.markdown(
        f"How much {name} looks at the token after the earlier copy, and at tokens a few places beside it. Broad attention "
        "makes many bars. An induction head has one, and loses it when the second half is fresh tokens (last bar); a "
        "positional impostor keeps it."
    )
    facts = partial(score_facts, page.subject, scores)
    source = Source(measured_on(page.subject), score_command(page.view), facts, f"{page.stem}-placebo")
    figure_panel(
        drawn(placebo_bars, name, offsets, values, control, length, page.look),
        key="placebo",
        alt=describe_placebo(name, offsets, values, control, length),
        rows=partial(placebo_rows, name, offsets, [float(value) for value in values], control, length),
        source=source,
        on_pick=None,
    )


def table(found: Shown) -> None:
    """Every head with the numbers that gave its label."""
    every = found.rows()
    intervals = {f"{name}_{end}" for name in NUMBERS for end in ("low", "high")}
    kept = {f"{name}_{end}" for name in ("contrast", "total_effect") for end in ("low", "high")}
    names = [name for name in every[0] if name not in {"sentence", *intervals - kept}]
    shares = {name for name in names if "effect" in name}
    rows = [{name: _shown(row[name], 4 if name == "q" else 3 if name in shares else 2) for name in names} for row in every]
    formats = {name: "%.4f" if name == "q" else "%.3f" if name in shares else "%.2f" for name in names}
    st.dataframe(
        rows,
        hide_index=True,
        placeholder=NOTHING,
        height="content" if len(rows) <= 12 else 460,
        column_config={
            name: st.column_config.NumberColumn(
                _TITLES.get(name, name.replace("_", " ")), format=formats[name], help=_HELP.get(name)
            )
            for name in names
            if name not in ("head", "label", "route")
        }
        | {"label": st.column_config.TextColumn("label", width=LABEL_WIDTH)},
    )


def _shown(value: object, digits: int) -> object:
    """As many digits as the column has, and no -0.00."""
    return round(value, digits) + 0.0 if isinstance(value, float) else value


def _emphasised(text: str) -> str:
    """The head and its label in bold."""
    verdict, _, rest = text.partition(". ")
    return f"**{verbatim(verdict)}.** {verbatim(rest)}"
