"""The command that prints the numbers of what a page shows, without a browser."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from core.heads import Head, HeadSet, named
from core.quantities.table import reads_of_a_head, rests_on_text
from core.settings.modes import Mode
from core.settings.text_choice import OFFERED, PASTED
from core.settings.view import RowChoice, View

PROGRAM = ("python", "-m", "core")


def score_command(view: View) -> str:
    """Every score, placebo offsets too."""
    return _line(view, "score")


def attention_command(view: View, head: Head, choice: RowChoice) -> str:
    """One head's pattern on the row that is looked at."""
    words = ["--head", head.name, "--row", choice.kind]
    if choice.kind != "text":
        return _line(view, "attention", *words, "--sequence", str(choice.sequence))
    return _line(view, "attention", *words, *_text(choice.text))


def sensitivity_command(view: View, heads: Sequence[Head]) -> str:
    """How the score of these heads moves."""
    return _line(view, "sensitivity", "--score", view.score, "--heads", named(heads), "--threshold", f"{view.threshold:.2f}")


def ablate_command(view: View, heads: HeadSet) -> str:
    """The ablation of `heads` with its random sets."""
    text = _text(view.experiment.paragraph)
    return _line(view, "ablate", "--heads", named(heads), "--mode", view.experiment.mode, *text)


def causal_command(view: View) -> str:
    """Every head taken away alone."""
    return _line(view, "causal", "--mode", view.experiment.mode)


def sweep_command(view: View, thresholds: str | None = None) -> str:
    """What every threshold buys; `thresholds` as START:STOP:STEP, else the usual ones."""
    words = ["--mode", view.experiment.mode, "--score", view.score]
    if thresholds is not None:
        words += ["--thresholds", thresholds]
    elif view.experiment.curves == "all":
        words += ["--all-modes"]
    return _line(view, "sweep", *words)


def call_command(view: View) -> str:
    """The verdicts, on several lengths, not the page's one."""
    request = view.request
    words = [*PROGRAM, "call", "--model", request.model, "--seed", str(request.seed), "--bos", request.bos]
    if request.token_range is not None:
        words += ["--token-range", f"{request.token_range[0]}:{request.token_range[1]}"]
    return shlex.join([*words, "--floor", f"{view.experiment.effect_floor:.2f}", "--json"])


def circuit_command(view: View, mode: Mode, pruned: Sequence[Head] = ()) -> str:
    """The edges, or what losing each of `pruned` does."""
    more = ["--prune", named(pruned)] if pruned else _floor(view)
    return _line(view, "circuit", "--mode", mode, *more)


def card_command(view: View, in_set: HeadSet | None, *more: str) -> str:
    """Everything about the picked head; `in_set`: the heads it is taken away with, where they were picked by hand."""
    experiment, default = view.experiment, View()
    assert view.head is not None
    words = ["--head", view.head.name, "--mode", experiment.mode, "--threshold", f"{view.threshold:.2f}"]
    if view.score != default.score:
        words += ["--score", view.score]
    words += [*_floor(view), *_windows(view)]
    if in_set is not None and experiment.source != default.experiment.source:
        words += ["--set", named(in_set)]
    return _line(view, "card", *words, *more)


def compare_command(view: View, imported: str = "") -> str:
    """Two quantities of every head; `imported`: the file that a person's own numbers are in, where they are compared."""
    axes, experiment = view.axes, view.experiment
    words = ["--x", axes.x, "--y", axes.y, *(["--colour", axes.colour] if axes.colour else []), "--mode", experiment.mode]
    words += _floor(view)
    if view.head is not None and any(reads_of_a_head(name) for name in (axes.x, axes.y, axes.colour)):
        words += ["--head", view.head.name]
    if any(rests_on_text(name) for name in (axes.x, axes.y, axes.colour)):
        words += _windows(view)
    return _line(view, "compare", *words, *(["--import", imported] if imported else []))


def report_command(view: View, *more: str) -> str:
    """The report beside this model."""
    line = [] if view.threshold == View().threshold else ["--threshold", f"{view.threshold:.2f}"]
    return _line(view, "report", *_floor(view), *line, *more)


def text_command(view: View, heads: HeadSet) -> str:
    """Heads on a text, and the text without `heads`."""
    text = view.text
    words = [f"--text={text.pasted}"] if text.corpus == PASTED else ["--corpus", text.corpus]
    if text.corpus.startswith(OFFERED):
        words += ["--column", text.column]
    words += ["--windows", str(text.windows), "--window-length", str(text.length), *_floor(view)]
    if heads:
        words += ["--heads", named(heads), "--mode", view.experiment.mode]
    return _line(view, "text", *words)


def _floor(view: View) -> list[str]:
    """The option for the contrast floor, none for the usual one."""
    floor = view.experiment.effect_floor
    return [] if floor == View().experiment.effect_floor else ["--floor", f"{floor:.2f}"]


def _windows(view: View) -> list[str]:
    """The options for windows of a text, none for the usual ones."""
    text, usual = view.text, View().text
    words = []
    if text.corpus == PASTED:
        words.append(f"--text={text.pasted}")
    elif text.corpus != usual.corpus:
        words += ["--corpus", text.corpus]
    if text.column != usual.column:
        words += ["--column", text.column]
    if (text.windows, text.length) != (usual.windows, usual.length):
        words += ["--windows", str(text.windows), "--window-length", str(text.length)]
    return words


def _text(text: str) -> list[str]:
    """The option for a text, none for the built-in one. One word, for a text can begin as an option does."""
    return [f"--text={text}"] if text else []


def _line(view: View, command: str, *more: str) -> str:
    """`command` on the same model and probe; `more` are its own options."""
    request = view.request
    words = [*PROGRAM, command, "--model", request.model]
    words += ["--length", str(request.length), "--sequences", str(request.sequences), "--seed", str(request.seed)]
    words += ["--bos", request.bos]
    if request.token_range is not None:
        words += ["--token-range", f"{request.token_range[0]}:{request.token_range[1]}"]
    return shlex.join([*words, *more, "--json"])
