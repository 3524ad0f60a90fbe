"""The parts of the text page: which text, the answer, the scatter, what heads are worth on it, what a head looks at there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import streamlit as st

from core.ablation.baselines import DEFAULT_BASELINES
from core.ablation.cached_text import MOST_JUDGED, ablate_on_text, text_baselines
from core.ablation.next_tokens import NextTokens, next_tokens
from core.ablation.on_text import TextAblation, TextBaselines
from core.ablation.text_words import against_sets_sentence, change_sentence, in_context_sentence
from core.attention.rows import text_row
from core.attention.tables import Row
from core.errors import Withheld
from core.figures.base.number_table import small_table_html
from core.figures.base.token_text import visible_token
from core.figures.text.contexts import contexts_html
from core.figures.text.lags import describe_lags, lag_profile, lag_profile_rows
from core.figures.text.scatter import describe_text_scatter, text_scatter
from core.heads import Head, HeadSet, named, names, ranked
from core.numbers import counted, interval, unsigned
from core.runtime.jobs import default_pool
from core.settings.cost import PASSES_OF_ONE_SET
from core.settings.modes import Mode
from core.settings.text_choice import (
    DEFAULT_CORPUS,
    MAX_PASTED,
    MAX_WINDOW_LENGTH,
    MAX_WINDOWS,
    MIN_WINDOW_LENGTH,
    MIN_WINDOWS,
    OFFERED,
    PASTED,
    SHOWN_EDGES,
    TAKEN_AWAY,
)
from core.settings.view import EXAMPLE_TEXT, MAX_TEXT_CHARACTERS
from core.sharing.commands import text_command
from core.sharing.text_facts import text_facts
from core.text.cached import likeness, natural_scores, text_seconds
from core.text.corpus import BUILT_IN, TEXTS, offered_texts
from core.text.measures import MEANINGS, TITLES
from core.text.natural_scores import LAGS, LIFT_FLOOR, SHOWN, NaturalScores
from core.text.tables import edge_rows, head_measures, known, natural_rows
from core.text.windows import TextWindows
from core.text.words import loss_sentence, pairs_sentence, so_far_sentence, too_few_sentence, value_sentence, windows_words
from core.ui.components.experiment_controls import mode_control
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.components.folded import folded
from core.ui.frame.navigation import open_its_card
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import held, held_place, held_radio, set_control
from core.ui.frame.waiting import await_result, job_key
from core.verdicts.cached import copied_on_text, judged_on_text, verdict_seconds
from core.verdicts.on_text import OnText
from core.verdicts.text_words import answer_sentence, correlation_sentence, head_on_text, outlier_sentences

_EDGES = ":material/format_quote:"
_ALIKE = 6
_CHANCE = ("natural_induction", "previous_token", "duplicate_token", "distance_control", "key_control")
_PREFIXES = (
    "Last n tokens, less n − 1 alone: natural induction where the last n tokens came before, less where exactly n − 1 did."
)
_OF_ALL = "These are of all windows; what is said above is of the half that judges."
_MODE_MEANINGS: dict[Mode, str] = {
    "zero": "Nothing.",
    "mean": "The head's average over the other half of the windows, over all positions.",
    "resample": "The head's own output on another window.",
    "pattern": "Nothing, while every attention pattern is held as it was: only what flows through values is lost.",
}
_EDGE_LABELS = {"repeats": "at the successor of an earlier copy", "others": "anywhere else", "tenths": "a sample by strength"}


def text_controls(page: Page) -> None:
    """Which text, in which windows."""
    wanted = page.view.text
    offered = [f"{OFFERED}{name}" for name in offered_texts()]
    options = list(dict.fromkeys([DEFAULT_CORPUS, *BUILT_IN, PASTED, *offered, wanted.corpus]))
    left, *right = [st.container()] * 3 if page.look.large else st.columns([3, 1, 1])
    left.selectbox(
        "Text",
        options,
        held_place("corpus", options),
        key="corpus",
        format_func=_corpus_label,
        help="Your own: paste it, put a .txt, .jsonl or .parquet file into the folder that the server's "
        f"{TEXTS} names, or run the command with any file, folder or data set. No page takes an upload.",
    )
    right[0].number_input("Windows", MIN_WINDOWS, MAX_WINDOWS, held("windows"), step=8, key="windows")
    right[1].number_input(
        "Tokens in each", MIN_WINDOW_LENGTH, MAX_WINDOW_LENGTH, held("window_length"), step=8, key="window_length"
    )
    if wanted.corpus == PASTED:
        st.text_area("The text", held("pasted"), key="pasted", max_chars=MAX_PASTED, height=160)
    if wanted.corpus.startswith(OFFERED):
        st.text_input("Column of a table that holds the text", held("column"), key="column")


def natural_of(page: Page, windows: TextWindows) -> NaturalScores | None:
    """Every measure on the windows; None, with progress shown, while it is not there."""
    work = partial(natural_scores, page.subject, windows)
    key = job_key(page.subject, "natural", windows.digest)
    seconds = partial(text_seconds, page.subject, windows)
    found = await_result(key, work, "Reading windows of text", live=True, seconds=seconds)
    job = default_pool().get(key)
    if found is None and job is not None and job.partial_value is not None:
        so_far: NaturalScores = job.partial_value
        st.caption(verbatim(so_far_sentence(so_far)))
    return found


def judged_of(page: Page, windows: TextWindows) -> OnText | None:
    """The same heads on random tokens."""
    floor = page.view.experiment.effect_floor
    work = partial(judged_on_text, page.subject, windows, floor)
    key = job_key(page.subject, "on-text", windows.digest, floor)
    return await_result(key, work, "Testing every head on random tokens", seconds=partial(verdict_seconds, page.subject))


def answer(windows: TextWindows, found: NaturalScores, judged: OnText) -> None:
    """The one answer, then which heads differ."""
    st.header(verbatim(answer_sentence(judged)), anchor=False)
    for sentence in outlier_sentences(judged):
        st.markdown(f"- {verbatim(sentence)}")
    for sentence in (too_few_sentence(windows), *windows.warnings):
        if sentence:
            st.caption(f":material/warning: {verbatim(sentence)}")


def chosen_heads(page: Page, judged: OnText) -> HeadSet:
    """The heads that are taken away: those that the box names, else the few with the largest lift on the other half; or none.

    Wherever a set of heads is from on other pages: here it is what stands in the box.
    """
    return page.view.experiment.heads or judged.lifted(TAKEN_AWAY)


def source_of(
    page: Page,
    windows: TextWindows,
    found: NaturalScores,
    judged: OnText,
    heads: HeadSet = (),
    ablated: TextAblation | None = None,
    baselines: TextBaselines | None = None,
) -> Source:
    """What the files of this page say."""
    facts = partial(text_facts, page.subject, windows, found, judged, ablated, baselines)
    return Source(windows_words(windows), text_command(page.view, heads), facts, f"{page.stem}-text")


def scatter_panel(page: Page, windows: TextWindows, found: NaturalScores, judged: OnText) -> None:
    """Every head, on text against on random tokens."""
    figure_panel(
        text_scatter(judged, page.view.head, page.look),
        key="text-scatter",
        alt=describe_text_scatter(judged),
        rows=partial(_rows, found, judged),
        source=_of_some(source_of(page, windows, found, judged), judged.judged.windows, "that heads are judged on"),
    )
    st.caption(
        verbatim(
            f"{correlation_sentence(judged)} {pairs_sentence(found)} Heads are picked on one half of the windows and judged on "
            "the other, which is what the picture shows. A click picks a head."
        )
    )


def worth(page: Page, windows: TextWindows, found: NaturalScores, judged: OnText) -> None:
    """What the chosen heads are worth on the text."""
    heads, mode = chosen_heads(page, judged), page.view.experiment.mode
    st.markdown(verbatim(loss_sentence(found, windows.b)))
    mode_control(page, _MODE_MEANINGS)
    st.text_input(
        "Heads to take away",
        held("heads"),
        key="heads",
        placeholder=named(judged.lifted(TAKEN_AWAY)),
        on_change=_take_named,
        help=f"Names between commas; left empty, at most {TAKEN_AWAY}: those with the largest lift on the half that is not "
        "judged on.",
    )
    if not heads:
        st.info(
            f"No head's lift is above {unsigned(LIFT_FLOOR)} on the half of the windows that heads are picked on, so none is "
            "taken away. Name the heads that you want to take away."
        )
        return
    ablated = await_result(
        job_key(page.subject, "text-ablation", windows.digest, mode, named(heads)),
        partial(ablate_on_text, page.subject, windows, heads, mode),
        "Taking these heads away",
        seconds=partial(_seconds, page, windows, 3.0),
    )
    if ablated is None:
        return
    st.markdown(f"**{', '.join(names(heads))}** taken away ({mode} ablation). {verbatim(change_sentence(ablated))}")
    beside = st.container()
    baselines = await_result(
        job_key(page.subject, "text-baselines", windows.digest, mode, named(heads)),
        partial(text_baselines, page.subject, windows, heads, mode),
        "Taking other heads away, to compare",
        background=True,
        seconds=partial(_seconds, page, windows, PASSES_OF_ONE_SET * DEFAULT_BASELINES),
    )
    with beside:
        if baselines is not None:
            st.markdown(verbatim(against_sets_sentence(ablated, baselines)))
            if baselines.sets:
                st.caption(verbatim(baselines.note))
        st.markdown(verbatim(in_context_sentence(ablated, baselines)))
    source = source_of(page, windows, found, judged, heads, ablated, baselines)
    lags = partial(_lags, page, ablated, source)
    folded("The tokens around the earlier copy, and how likely the model takes them", "lags", lags)


def _of_some(source: Source, count: int, which: str) -> Source:
    """Of a picture that shows fewer windows than its page reads."""
    return replace(source, measured_on=f"the {counted(count, 'window')} {which}, of {source.measured_on}")


def _lags(page: Page, ablated: TextAblation, source: Source) -> None:
    """The probability of the tokens around the earlier copy, before and after."""
    before = {lag: ablated.at_lag(lag)[0] for lag in LAGS}
    after = {lag: ablated.at_lag(lag)[1] for lag in LAGS}
    figure_panel(
        lag_profile(before, after, page.look),
        key="lags",
        alt=describe_lags(before, after),
        rows=partial(lag_profile_rows, before, after),
        source=_of_some(source, ablated.windows_with_lags, "with a token that comes back, on which heads are taken away"),
        on_pick=None,
    )


def picked_head(page: Page, windows: TextWindows, found: NaturalScores, judged: OnText) -> None:
    """What the picked head looks at on the text, and which heads look alike."""
    head = page.view.head or judged.foremost
    st.header(f"What {head.name} looks at", anchor=False)
    st.markdown(verbatim(head_on_text(judged, head)))
    _measures(page, found, head)
    folded("Its strongest edges, on the text", "edges", partial(_edges, page, windows, found, head), _EDGES)
    alike = await_result(
        job_key(page.subject, "likeness", windows.digest, head.name),
        partial(likeness, page.subject, windows, head),
        "Comparing patterns",
        background=True,
        seconds=partial(_seconds, page, windows, 0.5),
    )
    if alike is not None:
        others = [other for other in ranked(alike) if other != head][:_ALIKE]
        told = ", ".join(f"{other.name} {unsigned(float(alike[other]))}" for other in others)
        st.markdown(f"**Most like it** (correlation of patterns on the same windows, the first token left out): {told}")
    open_its_card()


def typed_text(page: Page, judged: OnText) -> None:
    """What the model expects after a typed text, with and without the chosen heads."""
    st.text_area("Your own text", held("text"), key="text", max_chars=MAX_TEXT_CHARACTERS, height=80, placeholder=EXAMPLE_TEXT)
    heads, mode = chosen_heads(page, judged), page.view.experiment.mode
    row = text_row(page.subject.identity, page.view.row.text or EXAMPLE_TEXT, page.view.request.bos)
    for warning in row.warnings:
        st.caption(f":material/warning: {verbatim(warning)}")
    found = await_result(
        job_key(page.subject, "next-tokens", mode, named(heads), row.ids),
        partial(next_tokens, page.subject, row, heads, mode),
        "Reading your text",
    )
    if found is None:
        return
    titles = ("With all heads", *([f"Without {named(heads)}"] if heads else []))
    columns = [st.container() for _ in titles] if page.look.large else st.columns(2, gap="large")
    for place, (column, title) in enumerate(zip(columns, titles, strict=False)):
        with column:
            st.markdown(f"**{title}**")
            st.html(_next_table(page, found, place, title))


def _next_table(page: Page, found: NextTokens, place: int, title: str) -> str:
    rows = [
        {
            "token": visible_token(page.subject.identity.token_text(int(token))),
            "here": f"{own:.3f}",
            "there": f"{other:.3f}",
        }
        for token, own, other in zip(found.ids[place], found.probability[place], found.other[place], strict=True)
    ]
    headings = {"token": "next token", "here": "probability", "there": "with all heads" if place else "without"}
    return small_table_html(rows, headings, f"Next tokens: {title}", page.look, {})


def _measures(page: Page, found: NaturalScores, head: Head) -> None:
    numbers = head_measures(found, head)
    titles = TITLES | {f"prefix_{n}": f"Last {n} tokens, less {n - 1} alone" for n in (2, 3)}
    rows = []
    for name in (*SHOWN, "prefix_2", "prefix_3"):
        number = numbers[name]
        chance = unsigned(float(found.chance[name][head.layer])) if name in _CHANCE else "–"
        between = interval(number.low, number.high)
        rows.append({"what": titles[name], "value": unsigned(number.value), "interval": between, "chance": chance})
    headings = {"what": "on this text", "value": "value", "interval": "95 % interval", "chance": "chance"}
    with st.expander(f"Every measure of {head.name} on this text", icon=":material/table:"):
        st.html(small_table_html(rows, headings, f"Measures of {head.name}", page.look, {}))
        meanings = [f"{TITLES[name]}: {verbatim(MEANINGS[name])}." for name in SHOWN]
        withheld = [verbatim(sentence) for sentence in [value_sentence(found)] if sentence]
        st.caption("  \n".join([*meanings, _PREFIXES, _OF_ALL, *withheld]))


def _edges(page: Page, windows: TextWindows, found: NaturalScores, head: Head) -> None:
    held_radio("Its edges", SHOWN_EDGES, "edges", _EDGE_LABELS.__getitem__)
    text = page.subject.identity.token_text
    shown = page.view.text.edges
    if shown != "tenths":
        rows = edge_rows(found.edges, head, SHOWN_EDGES.index(shown), windows, text)
        label = f"Strongest edges of {head.name}, {_EDGE_LABELS[shown]}"
        place = st.container()
        copied = _copied(page, windows, head, SHOWN_EDGES.index(shown)) if rows else None
        with place:
            _contexts(page, rows, label, [] if copied is None else copied.tolist())
    else:
        counts = found.tenth_counts[head]
        for tenth in reversed(range(len(counts))):
            if counts[tenth]:
                label = f"Strength {tenth / 10:.1f} to {(tenth + 1) / 10:.1f}: {counted(int(counts[tenth]), 'edge')}"
                st.markdown(f"**{label}**")
                _contexts(page, edge_rows(found.tenths, head, tenth, windows, text), label)
    st.caption(
        "An edge is each token's strongest one, the first token of the window left out. Filled: where it looks. "
        "Dashed: from where. The number with a sign: the logits that the head itself adds to the token it looks at, over the "
        "mean token."
    )


def _copied(page: Page, windows: TextWindows, head: Head, kind: int) -> np.ndarray | None:
    """What the head adds to the logit of the token it looks at; None while it is not there, or where it is withheld."""
    try:
        return await_result(
            job_key(page.subject, "copied", windows.digest, head.name, kind),
            partial(copied_on_text, page.subject, windows, head, kind),
            "Reading what it copies there",
            background=True,
            seconds=partial(_seconds, page, windows, 1.0),
        )
    except Withheld as error:
        st.caption(verbatim(str(error)))
        return None


def _contexts(page: Page, rows: list[Row], label: str, copied: Sequence[float] = ()) -> None:
    if rows:
        st.html(contexts_html(rows, label, page.look, copied))
    else:
        st.caption("There is no such edge in these windows.")


def _rows(found: NaturalScores, judged: OnText) -> list[Row]:
    rows: list[Row] = []
    for row in natural_rows(found):
        head = Head(row["layer"], row["head"])
        # What the picture shows comes first; the measures of all windows follow.
        first = {"name": head.name, "random_induction": float(judged.random[head])}
        first |= {f"judged_{part}": known(getattr(judged.judged, place)[head]) for part, place in _JUDGED.items()}
        rows.append(first | {"label": judged.label(head)} | row)
    return sorted(rows, key=lambda row: math.inf if row["judged_lift"] is None else -row["judged_lift"])


_JUDGED = {"lift": "value", "low": "low", "high": "high"}


def _seconds(page: Page, windows: TextWindows, passes: float) -> float:
    """How long passes over the judged windows take."""
    return text_seconds(page.subject, windows, passes * min(1.0, MOST_JUDGED / windows.n_windows))


def _corpus_label(name: str) -> str:
    if name == DEFAULT_CORPUS:
        return "built in: the topics of Python's documentation, or stories in a small model's own words"
    if name == PASTED:
        return "your own, pasted"
    return f"built in, {name}: {BUILT_IN[name]}" if name in BUILT_IN else name


def _take_named() -> None:
    set_control("set", "picked" if str(st.session_state["heads"]).strip() else "threshold")
