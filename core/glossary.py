"""The words of the field, each in one sentence, with the paper it is from: data for help, the glossary and sheets to print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """Where a word comes from: who and when, and an address to type."""

    authors: str
    address: str


FRAMEWORK = Paper("Elhage et al. 2021", "transformer-circuits.pub/2021/framework")
INDUCTION = Paper("Olsson et al. 2022", "arXiv:2209.11895")
TRANSFORMER = Paper("Vaswani et al. 2017", "arXiv:1706.03762")
SINKS = Paper("Xiao et al. 2023", "arXiv:2309.17453")
ABLATION = Paper("Li and Janson 2024", "arXiv:2409.09951")
PATCHING = Paper("Wang et al. 2022", "arXiv:2211.00593")
PERMUTATION = Paper("Phipson and Smyth 2010", "arXiv:1603.05766")
DUAL_ROUTE = Paper("Feucht et al. 2025", "arXiv:2504.03022")


@dataclass(frozen=True)
class Term:
    """A word and what it means, in one sentence that says no more than it must."""

    word: str
    meaning: str
    paper: Paper | None = None


_TERMS = (
    Term("token", "A piece of text that a model reads as one: a word, a part of one, or a sign; each has a number, its id."),
    Term("BOS", "Beginning of sequence: a special token that some models expect in front of every text."),
    Term(
        "attention head",
        "A part of a layer that, at each token, decides how much to read from each earlier token; L5H7 is head 7 of layer 5, "
        "both counted from 0.",
        TRANSFORMER,
    ),
    Term(
        "residual stream",
        "What a model holds at each token: every head and every layer reads from it and adds what it writes to it.",
        FRAMEWORK,
    ),
    Term(
        "induction",
        "At a token that came before, looking at the token that followed it then, and predicting that one again.",
        INDUCTION,
    ),
    Term(
        "induction score",
        "The share of a head's attention that, at a repeated token, goes to the token after the earlier copy: 1 is all of it.",
        INDUCTION,
    ),
    Term("chance", "What a head would score that looked at all the tokens it can see equally."),
    Term(
        "contrast",
        "A head's induction score less what the same places get when the second half is fresh tokens, so that a head that only "
        "counts positions gets nothing.",
    ),
    Term("threshold", "The line on a score above which a head is counted; it is a choice, not a measurement."),
    Term(
        "knee",
        "The threshold at which the curve of a sweep bends most: lowering the line further takes more heads and costs little "
        "more.",
    ),
    Term(
        "loss",
        "How surprised a model is by the right next token, on average; lower is better.",
    ),
    Term(
        "nats",
        "The unit of loss: one nat more means that the right token was given 2.7 times less probability.",
    ),
    Term("second copy", "The random tokens when they come again: there, and only there, the first copy helps."),
    Term("gain", "The loss on the first copy less that on the second: what the repeat is worth to the model."),
    Term("gain lost", "The share of the gain that goes when heads are taken away: at 100 % the repeat helps no more."),
    Term(
        "ablation",
        "Taking a head's output away, and putting nothing, an average, or its output on another sequence in its place, to see "
        "what the model does without it.",
        ABLATION,
    ),
    Term(
        "baseline",
        "The same ablation of other sets of as many heads: a cost says little until one knows what they cost.",
    ),
    Term(
        "p",
        "How likely a set of heads that could as well have been chosen costs at least as much; few sets cannot make it small.",
        PERMUTATION,
    ),
    Term(
        "previous-token head",
        "A head that looks at the token just before, and so lets later heads find the token after an earlier copy.",
        FRAMEWORK,
    ),
    Term("circuit", "Heads that do a thing together: what one writes is what another one looks for.", PATCHING),
    Term(
        "copying",
        "Writing the token that is looked at: a head that looks at the right place and does not copy makes no prediction.",
        DUAL_ROUTE,
    ),
    Term("sink", "A head that rests on the first token, as heads do that have nothing to do.", SINKS),
    Term(
        "positional impostor",
        "A head that scores high on induction because it always looks the same distance back, copy or not.",
    ),
    Term(
        "total effect",
        "What a head gives the right token by whatever way, found by taking it away, as a share of what the repeat is worth.",
        PATCHING,
    ),
    Term(
        "lift",
        "Induction on real text less the larger of two controls: the same distances elsewhere, and the same tokens read from "
        "elsewhere.",
    ),
)
TERMS = {term.word: term for term in _TERMS}
_LOOKING = ("attention head", "induction", "induction score", "chance", "contrast", "BOS")
_REMOVING = ("ablation", "nats", "second copy", "gain lost", "baseline", "p")
# The words that are first met on each page, in the order in which they are met there.
MET_ON: dict[str, tuple[str, ...]] = {
    "Heads": _LOOKING,
    "Attention": ("attention head", "token", "BOS", "induction", "sink", "nats"),
    "Ablation": _REMOVING,
    "Causal map": ("ablation", "nats", "second copy", "previous-token head"),
    "Sweep": ("threshold", *_REMOVING, "knee"),
    "Verdicts": (
        "contrast",
        "total effect",
        "copying",
        "positional impostor",
        "previous-token head",
        "sink",
        "residual stream",
    ),
    "Head card": ("induction score", "chance", "contrast", "total effect", "copying", "positional impostor", "residual stream"),
    "Circuits": ("circuit", "previous-token head", "induction", "residual stream"),
    "Text": ("lift", "induction", "token", "baseline", "nats"),
    "Compare": ("induction score", "total effect", "copying", "nats"),
    "Sensitivity": ("induction score", "BOS", "threshold"),
    "Report": ("induction score", "threshold", "ablation", "nats", "baseline", "BOS", "knee"),
}


def help_on(*words: str) -> str:
    """The sentence of each word, for a tooltip where it is first met."""
    return " ".join(f"{TERMS[word].word[0].upper()}{TERMS[word].word[1:]}: {TERMS[word].meaning}" for word in words)
