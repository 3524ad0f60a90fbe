"""What is measured on text, as the one JSON object of the page's download and the command's output."""

from __future__ import annotations

from collections.abc import Mapping

from core.ablation.on_text import TextAblation, TextBaselines
from core.ablation.text_words import against_sets_sentence, change_sentence, in_context_sentence
from core.heads import named, names
from core.settings.subject import Subject
from core.sharing.facts import Facts, envelope
from core.stats import Number
from core.text.cells import PREFIXES
from core.text.natural_scores import LAGS, LIFT_FLOOR, SHOWN, Measured, NaturalScores
from core.text.tables import icl_number, lag_numbers, loss_numbers
from core.text.windows import TextWindows
from core.text.words import loss_sentence, pairs_sentence, too_few_sentence, value_sentence, windows_words
from core.verdicts.on_text import OnText
from core.verdicts.text_words import answer_sentence, correlation_sentence, outlier_sentences


def text_facts(
    subject: Subject,
    windows: TextWindows,
    found: NaturalScores,
    judged: OnText | None,
    ablated: TextAblation | None = None,
    baselines: TextBaselines | None = None,
) -> Facts:
    """Every measure of every head on `windows`, the same heads on random tokens, and what taking heads away changes.

    Scores and intervals are over all windows; `on_text` is chosen on one half and judged on the other. Null: not asked for.
    """
    measured = {name: found.measured(name) for name in SHOWN}
    losses = loss_numbers(found, windows.b)
    return envelope(subject) | {
        "measured_on": windows_words(windows),
        "sentences": _sentences(windows, found, judged, ablated, baselines),
        "text": windows_facts(windows) | {"paired": found.paired},
        "engine": found.engine,
        "scores": {name: values.value for name, values in measured.items()},
        "low": {name: values.low for name, values in measured.items()},
        "high": {name: values.high for name, values in measured.items()},
        "withheld": {"value_weighted": said} if (said := value_sentence(found)) else {},
        "chance_by_layer": {name: levels for name, levels in found.chance.items() if name in measured},
        "prefix": {n: _interval_facts(found.prefix(n)) for n in PREFIXES},
        "icl_score": icl_number(found, windows.b)._asdict(),
        "lag_profile": {lag: number._asdict() for lag, number in lag_numbers(found).items()},
        "losses": _losses(losses, ablated),
        "on_text": None if judged is None else _on_text_facts(judged),
        "heads": None if ablated is None else names(ablated.heads),
        "mode": None if ablated is None else ablated.mode,
        "ablation": None if ablated is None else _ablation_facts(ablated),
        "baseline": None if ablated is None or baselines is None else _baseline_facts(ablated, baselines),
    }


def _sentences(
    windows: TextWindows,
    found: NaturalScores,
    judged: OnText | None,
    ablated: TextAblation | None,
    baselines: TextBaselines | None,
) -> list[str]:
    """What the numbers say, as the page says it; what was not asked for says nothing."""
    said = [] if judged is None else [answer_sentence(judged), *outlier_sentences(judged), correlation_sentence(judged)]
    said += [pairs_sentence(found), loss_sentence(found, windows.b), too_few_sentence(windows), value_sentence(found)]
    if ablated is not None:
        said.append(change_sentence(ablated))
        said += [] if baselines is None else [against_sets_sentence(ablated, baselines)]
        said.append(in_context_sentence(ablated, baselines))
    return [sentence for sentence in said if sentence]


def windows_facts(windows: TextWindows) -> Facts:
    """Which windows, and what identifies them."""
    return {
        "corpus": windows.source,
        "windows": windows.n_windows,
        "window_length": windows.length,
        "has_bos": bool(windows.b),
        "seed": windows.seed,
        "unknown_share": windows.unknown_share,
        "digest": windows.digest,
        "warnings": list(windows.warnings),
    }


def _interval_facts(found: Measured) -> Facts:
    return {"value": found.value, "low": found.low, "high": found.high, "windows": found.windows}


def _losses(clean: Mapping[str, Number], ablated: TextAblation | None) -> Facts:
    """Over all windows; with heads taken away, before and after over the judged ones."""
    facts: Facts = {name: {"clean": number._asdict()} for name, number in clean.items()}
    if ablated is not None:
        for name in facts:
            before, after = (float(ablated.loss(name, lost).mean()) for lost in (False, True))
            facts[name] |= {"judged_clean": before, "ablated": after, "change": ablated.change(name)._asdict()}
    return facts


def _on_text_facts(judged: OnText) -> Facts:
    return {
        "floor": LIFT_FLOOR,
        "windows": judged.judged.windows,
        "matching": names(judged.matching),
        "on_text_too": names(judged.labelled("on text too")),
        "random_only": names(judged.labelled("random only")),
        "undecided": names(judged.labelled("undecided on text")),
        "text_only": names(judged.labelled("text only")),
        "lift": _interval_facts(judged.judged),
        "random": {"induction": judged.random},
        "rank_correlation": vars(judged.rank_correlation),
        "lift_rank_correlation": vars(judged.lift_correlation),
    }


def _ablation_facts(ablated: TextAblation) -> Facts:
    before, after, change = ablated.in_context
    return {
        "windows": len(ablated.repeat),
        "icl_score": {"clean": before._asdict(), "ablated": after._asdict(), "change": change._asdict()},
        "lag_profile": {
            lag: dict(zip(("clean", "ablated"), (number._asdict() for number in ablated.at_lag(lag)), strict=True))
            for lag in LAGS
        },
    }


def _baseline_facts(ablated: TextAblation, baselines: TextBaselines) -> Facts:
    before, after = ablated.at_lag(1)
    observed = {
        "repeat": ablated.change("repeat").value,
        "other": ablated.change("other").value,
        "in_context": ablated.in_context[2].value,
        "successor": before.value - after.value,
    }
    facts: Facts = {
        "sets": [named(found) for found in baselines.sets],
        "note": baselines.note,
        "smallest_p": baselines.smallest_p,
    }
    for name, value in observed.items():
        low, high, mean = baselines.range(name)
        facts[name] = {"observed": value, "low": low, "high": high, "mean": mean, "p": baselines.p(name, value)}
    return facts
