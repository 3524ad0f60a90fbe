"""What a sweep of the threshold says, each in a sentence that a person can repeat."""

from __future__ import annotations

from collections.abc import Sequence

from core.ablation.sweep import Sweep, SweepRow
from core.ablation.words import Beside, beside_others, change_words, p_words
from core.heads import HeadSet
from core.numbers import counted, digits_that_add_up, interval, signed, signed_interval

# In the order in which they are told: what a sweep looks for comes first.
_VERDICTS: dict[Beside, str] = {
    "surely more": "cost more than nearly all other sets",
    "more, too few to be sure": "cost more than every other set that was drawn, too few to be sure",
    "less": "cost less than every other set that was drawn",
    "not surely more": "do not surely cost more than other heads do",
}
_EVERY_SET = "cost more than every other set that was drawn"


def beyond_baselines(sweep: Sweep) -> str:
    """Do the heads above each threshold cost more than others? At how many thresholds, and how far apart others are."""
    missing = len({row.heads for row in sweep.rows if row.heads and row.others is None})
    if missing:
        have = "set has no other sets beside it" if missing == 1 else "sets have no other sets beside them"
        return f"{missing} head {have} yet. Nothing is concluded before all of them have."
    keeping = [row for row in sweep.rows if row.heads]
    if not keeping:
        return (
            f"**No head is above any threshold of this sweep,** {_ends(sweep)}: nothing is taken away, and the second-copy "
            f"loss stays at {sweep.clean.second_copy:.2f} nats."
        )
    known, alone = [row for row in keeping if row.others], [row for row in keeping if not row.others]
    if not known:
        costs = [row.second_copy - sweep.clean.second_copy for row in keeping]
        return (
            f"**Nothing to compare with: the heads above a threshold cost {_costs(min(costs), max(costs))}, and what others "
            f"would cost is not known.** {_reasons(alone)}"
        )
    without = f" {_without(alone)}" if alone else ""
    best = min(known, key=lambda row: row.p)
    return (
        f"**{_verdict(sweep, keeping, known)}** {_widest(sweep, known)} The smallest p of the sweep, not corrected for how "
        f"many thresholds there are, at {best.threshold:.2f}: {p_words(best.p, best.smallest_p, best.others or 0)}.{without}"
    )


def at_threshold(sweep: Sweep, threshold: float, heads: HeadSet) -> str:
    """What `threshold`, which keeps `heads`, buys: read off a point of the sweep that keeps the same heads."""
    here = f"**At the slider's threshold, {threshold:.2f}:** {counted(len(heads), 'head')}"
    clean = sweep.clean.second_copy
    if not heads:
        return f"{here}, so nothing is taken away: the second-copy loss stays at **{clean:.2f} nats**."
    same = next((row for row in sweep.rows if set(row.heads) == set(heads)), None)
    if same is None:
        return f"{here}, {_where(sweep, threshold)}, so what it costs was not measured here."
    digits = digits_that_add_up(clean, same.change.value, same.second_copy)
    cost = f"{here}, second-copy loss {clean:.{digits}f} → **{same.second_copy:.{digits}f} nats**, "
    cost += change_words(same.change, sweep.n_sequences, digits)
    if not same.others:
        return f"{cost}."
    beside = f"{same.baseline_low:.2f} to {same.baseline_high:.2f}"
    return f"{cost}; without as many other heads {beside}, {p_words(same.p, same.smallest_p, same.others)}."


def _where(sweep: Sweep, threshold: float) -> str:
    """Where a threshold lies whose heads are those of no point of the sweep."""
    first, last = sweep.rows[0].threshold, sweep.rows[-1].threshold
    if threshold < first:
        return f"below where this sweep begins, {first:.2f}"
    if threshold > last:
        return f"above where this sweep ends, {last:.2f}"
    return "a set that lies between two points of this sweep"


def _verdict(sweep: Sweep, keeping: Sequence[SweepRow], known: Sequence[SweepRow]) -> str:
    """At how many thresholds what is said of an ablation's heads is to be said of these."""
    told = [beside_others(row.p, row.second_copy, row.baseline_low, row.baseline_high) for row in known]
    times = {verdict: told.count(verdict) for verdict in _VERDICTS if verdict in told}
    surely = [row for row, verdict in zip(known, told, strict=True) if verdict == "surely more"]
    beaten = all(row.second_copy > row.baseline_high for row in surely)
    words = {verdict: _EVERY_SET if verdict == "surely more" and beaten else _VERDICTS[verdict] for verdict in times}
    if len(times) == 1:
        [only] = words.values()
        if len(known) == len(sweep.rows):
            return f"At every threshold the heads above it {only}."
        if len(known) == len(keeping):
            return f"At every threshold with heads above it these {only}."
        some = f"that has other sets to compare with ({len(known)} of {len(keeping)})"
        return f"At every threshold {some} the heads above it {only}."
    of = f"Of the {counted(len(known), 'threshold')} with other sets to compare with"
    parts = [f"at {count} the heads above it {words[verdict]}" for verdict, count in times.items()]
    return f"{of}, {'; '.join(parts)}."


def _widest(sweep: Sweep, known: Sequence[SweepRow]) -> str:
    """How far apart the other sets are where they are farthest apart, beside what the heads themselves cost."""
    clean = sweep.clean.second_copy
    row = max(known, key=lambda row: row.baseline_high - row.baseline_low)
    low, high, own = row.baseline_low - clean, row.baseline_high - clean, signed(row.second_copy - clean)
    if signed(low) == signed(high):
        costs = [value - clean for one in known for value in (one.baseline_low, one.baseline_high)]
        cost = _costs(min(costs), max(costs))
        alike = f"At no threshold do the other sets differ in what they cost, {cost}"
        return f"{alike}; the heads above {row.threshold:.2f} cost {own}."
    return (
        f"The other sets differ most at threshold {row.threshold:.2f}: {signed_interval(low, high)} nats, where the heads "
        f"above it cost {own}."
    )


def _costs(low: float, high: float) -> str:
    """`0.00 nats`, or `0.00 to +0.40 nats` where the two are not written alike."""
    return f"{signed(low)} nats" if signed(low) == signed(high) else f"{signed_interval(low, high)} nats"


def _without(alone: Sequence[SweepRow]) -> str:
    """The thresholds with heads and without other sets, and why."""
    return f"At {_thresholds(alone)} there is nothing to compare with: {_reasons(alone)}"


def _reasons(alone: Sequence[SweepRow]) -> str:
    """Why there are no other sets, each reason said once."""
    return " ".join(dict.fromkeys(row.note for row in alone if row.note)) or "There are no other sets to compare with."


def _thresholds(rows: Sequence[SweepRow]) -> str:
    values = [f"{row.threshold:.2f}" for row in rows]
    return f"threshold {values[0]}" if len(values) == 1 else f"the thresholds {', '.join(values[:-1])} and {values[-1]}"


def _ends(sweep: Sweep) -> str:
    return interval(sweep.rows[0].threshold, sweep.rows[-1].threshold)
