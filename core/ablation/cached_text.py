"""From a subject, windows of a text and heads to what these are worth there: computed once, beside other sets.

Heads are chosen on one half of the windows; this is measured on the other, and what stands in for a head is its mean over the
first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.ablation.baselines import DEFAULT_BASELINES, baseline_sets, never_drawn
from core.ablation.cached import checked_draw
from core.ablation.on_text import TextAblation, TextBaselines, TextOutcome, mean_where, other_targets, repeats_of
from core.ablation.subjects import ABLATION_VERSION, check_mode, checked_heads
from core.attention.cached import scores_and_behaviour
from core.heads import HeadLike, HeadSet, heads_above, names
from core.runtime.cache import cached
from core.runtime.jobs import share_of
from core.runtime.store import Stored
from core.settings.modes import Mode
from core.settings.subject import Subject
from core.stats import estimate
from core.text.cached import check_enough, natural_scores, text_key
from core.text.natural_scores import LAGS, LIFT_FLOOR, chosen_windows, in_context_score, judged_windows
from core.text.windows import TextWindows

# Judged windows that sets are taken away on: forty sets on more would take minutes where the pass itself takes seconds.
MOST_JUDGED = 24
MOST_REFERENCE = 32
FEWEST = 4


def ablate_on_text(subject: Subject, windows: TextWindows, heads: Sequence[HeadLike], mode: Mode = "mean") -> TextAblation:
    """Take `heads` away together on the judged half of `windows`. Losses in nats.

    Raises BadInput for heads or a mode that this model cannot have, and fewer than four windows.
    """
    wanted = _checked(subject, windows, heads, mode)
    tokens, _ = _halves(windows)

    def compute() -> Stored:
        losses, lags = _measured(subject, windows, [(), wanted], mode, "windows without these heads")
        return Stored({"losses": losses, "lags": lags}, {})

    arrays = cached(_key(subject, "text-ablation", windows, mode, heads=names(wanted)), compute).arrays
    clean, ablated = (TextOutcome(*pair) for pair in zip(arrays["losses"], arrays["lags"], strict=True))
    return TextAblation(wanted, mode, clean, ablated, repeats_of(tokens, windows.b, windows.uncounted), windows.b)


def text_baselines(
    subject: Subject, windows: TextWindows, heads: Sequence[HeadLike], mode: Mode = "mean", count: int = DEFAULT_BASELINES
) -> TextBaselines:
    """The same of other sets, matched by layer; none holds a head that matches, on random tokens or on text.

    Raises BadInput as `ablate_on_text`, and for a count out of range.
    """
    count, _ = checked_draw(count)
    wanted = _checked(subject, windows, heads, mode)
    scores = scores_and_behaviour(subject)
    matching = scores.mean("contrast" if scores.has_control else "induction")
    excluded = never_drawn(matching, scores.mean("previous_token"))
    excluded |= frozenset(heads_above(natural_scores(subject, windows).lift.value, LIFT_FLOOR))
    n_layers, n_heads = matching.shape
    chosen = baseline_sets(wanted, n_layers, n_heads, count, excluded=excluded)
    if not chosen.sets:
        nothing = np.empty(0)
        return TextBaselines((), chosen.note, nothing, nothing, nothing, nothing)
    tokens, _ = _halves(windows)

    def compute() -> Stored:
        what = f"windows without {len(chosen.sets)} other head sets"
        losses, lags = _measured(subject, windows, [(), *chosen.sets], mode, what)
        repeat = repeats_of(tokens, windows.b, windows.uncounted)
        found = {}
        for name, mask in (("repeat", repeat), ("other", other_targets(repeat, windows.b))):
            means = np.array([estimate(mean_where(loss, mask)).value for loss in losses])
            found[name] = means[1:] - means[0]
        scores = in_context_score(losses, windows.b).mean(-1)
        after = lags[:, :, LAGS.index(1)]
        successor = np.array([estimate(found[~np.isnan(found)]).value for found in after])
        # A fall, so that more is worse as it is elsewhere.
        return Stored(found | {"in_context": scores[1:] - scores[0], "successor": successor[0] - successor[1:]}, {})

    sets = [names(found) for found in chosen.sets]
    arrays = cached(_key(subject, "text-baselines", windows, mode, sets=sets), compute).arrays
    return TextBaselines(chosen.sets, chosen.note, **arrays)


def _checked(subject: Subject, windows: TextWindows, heads: Sequence[HeadLike], mode: Mode) -> HeadSet:
    # Another window is there to be resampled from, however few sequences the probe has.
    check_mode(subject.at(sequences=max(2, subject.request.sequences)), mode)
    check_enough(windows, FEWEST)
    return checked_heads(subject, heads)


def _halves(windows: TextWindows) -> tuple[np.ndarray, np.ndarray]:
    """The windows that are judged on, and those whose mean stands in."""
    count = windows.n_windows
    return (
        windows.tokens[judged_windows(count)][:MOST_JUDGED],
        windows.tokens[chosen_windows(count)][:MOST_REFERENCE],
    )


def _measured(
    subject: Subject, windows: TextWindows, sets: Sequence[HeadSet], mode: Mode, what: str
) -> tuple[np.ndarray, np.ndarray]:
    from core.ablation.text_runs import ablated_on_text

    tokens, reference = _halves(windows)
    model = subject.load(tokens.shape[1])
    return ablated_on_text(
        model, tokens, reference, sets, mode, b=windows.b, uncounted=windows.uncounted, on_share=share_of(what)
    )


def _key(subject: Subject, kind: str, windows: TextWindows, mode: Mode, **parts: object) -> str:
    return text_key(subject, kind, windows, mode=mode, ablation_version=ABLATION_VERSION, **parts)
