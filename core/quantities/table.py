"""The table of per-head quantities: everything that HeadScope measures of a head, by the name that files give it.

How a quantity is obtained is in `core.quantities.cached`, by the name in `source`. This file is words alone and imports nothing
heavy, for addresses and controls need the names only.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.attention.scores import ALL_SCORES, OF_WHOLE_ROWS, SECOND_STEP
from core.text.measures import MEANINGS, TITLES

# What a person brought: numbers of a paper, or of another tool.
IMPORTED = "imported"


@dataclass(frozen=True)
class Quantity:
    """One number a head. limits: its fixed scale, None where it has none. signed: whether it has a meaningful zero to pass."""

    name: str
    title: str
    meaning: str
    unit: str
    source: str
    limits: tuple[float, float] | None = None
    signed: bool = False


def _scores() -> list[Quantity]:
    return [
        Quantity(
            score.name,
            score.title,
            score.meaning,
            "share of attention" if score.name != "entropy" else "share of the largest entropy",
            "scores" if score.name in SECOND_STEP else "whole_rows" if score.name in OF_WHOLE_ROWS else "first_scores",
            (-1.0, 1.0) if score.signed else (0.0, 1.0),
            score.signed,
        )
        for score in ALL_SCORES.values()
    ]


def _on_text() -> list[Quantity]:
    """The measures on real text; those that random tokens have, too, under a name of their own."""
    units = {"entropy": "share of the largest entropy", "distance": "tokens"}
    return [
        Quantity(
            name if name in _TEXT_ALONE else f"{ON_TEXT}{name}",
            TITLES[name] if name in _TEXT_ALONE else f"{TITLES[name]}, on text",
            MEANINGS[name].replace("`", "“", 1).replace("`", "”"),
            units.get(name, "share of attention"),
            "text",
            None if name == "distance" else (-1.0, 1.0) if name == "lift" else (0.0, 1.0),
            name == "lift",
        )
        for name in TITLES
    ]


def _compositions() -> list[Quantity]:
    """How much of what a head writes the reading head reads, by its weights."""
    return [
        Quantity(
            f"{letter}_composition",
            f"{letter.upper()}-composition",
            f"by the weights: how much of what this head writes the reading head reads as {what} (the picked head, or else the "
            "one of the later layers with the highest induction score)",
            "share of the product of both norms",
            "composition",
            _SHARE,
        )
        for letter, what in (("k", "key"), ("q", "query"), ("v", "value"))
    ]


def reads_of_a_head(name: str) -> bool:
    """Whether it is of one head that reads what the others wrote, so that it depends on which head is picked."""
    return name in QUANTITIES and QUANTITIES[name].source in ("composition", "path_patching")


def intervals_over(name: str) -> str:
    """What the intervals of a quantity are over, in the plural."""
    source = QUANTITIES[name].source if name in QUANTITIES else ""
    return {"text": "windows of text", "token_copying": "prompts", "concept_copying": "prompts"}.get(source, "sequences")


def rests_on_text(name: str) -> bool:
    """Whether it depends on which text was chosen."""
    return name in QUANTITIES and QUANTITIES[name].source in ("text", "concept_copying")


# Before the names of measures that a probe of random tokens has, too.
ON_TEXT = "text_"
_TEXT_ALONE = ("natural_induction", "distance_control", "key_control", "lift", "headvis")
_SHARE = (0.0, 1.0)
QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        *_scores(),
        *_on_text(),
        Quantity(
            "induction_control",
            "Induction on fresh tokens",
            "the induction cells where the second half is fresh tokens: what position alone gives",
            "share of attention",
            "first_scores",
            _SHARE,
        ),
        Quantity(
            "chance",
            "Chance level of induction",
            "what a head of the layer gets that attends equally to all tokens it sees",
            "share of attention",
            "first_scores",
        ),
        Quantity(
            "movement",
            "Movement of induction",
            "how far apart the lowest and the highest induction score are over other lengths, seeds and BOS",
            "share of attention",
            "sensitivity",
            _SHARE,
        ),
        Quantity(
            "effect",
            "Effect of removal",
            "change in second-copy loss when the head is taken away alone",
            "nats",
            "causal_map",
            signed=True,
        ),
        Quantity(
            "effect_low",
            "Effect of removal, lower end",
            "lower end of the effect's 95 % interval over sequences",
            "nats",
            "causal_map",
            signed=True,
        ),
        Quantity(
            "effect_high",
            "Effect of removal, upper end",
            "upper end of the effect's 95 % interval over sequences",
            "nats",
            "causal_map",
            signed=True,
        ),
        Quantity(
            "estimate",
            "Effect, estimated by gradient",
            "the effect of removal to first order: an estimate, wrong in size and sometimes in sign",
            "nats",
            "estimate",
            signed=True,
        ),
        Quantity(
            "total_effect",
            "Total effect",
            "what the head gives the right token's logit by whatever route; measured of matching heads alone",
            "share of G",
            "verdicts",
            signed=True,
        ),
        Quantity(
            "direct_effect",
            "Direct effect",
            "what the head itself writes toward the right token's logit",
            "share of G",
            "verdicts",
            signed=True,
        ),
        Quantity(
            "copying",
            "Copying (weights)",
            "whether the head's weights copy what it looks at: 1 copies, -1 suppresses, near 0 neither",
            "sum of eigenvalues over the sum of their sizes",
            "verdicts",
            (-1.0, 1.0),
            True,
        ),
        Quantity(
            "q",
            "Contrast, q-value",
            "of the sign-flip test of the contrast, Benjamini-Hochberg over heads",
            "q",
            "verdicts",
            _SHARE,
        ),
        Quantity(
            "token_copying",
            "Token copying (patch-in)",
            "how much likelier the head, put into a run with nothing to copy, makes the next of some random tokens",
            "nats",
            "token_copying",
            signed=True,
        ),
        Quantity(
            "token_copying_control",
            "Token copying, control",
            "the same with the head's output from another prompt, where something else was copied",
            "nats",
            "token_copying",
            signed=True,
        ),
        Quantity(
            "concept_copying",
            "Concept copying (patch-in)",
            "how much likelier the head, put in at the token before a word, makes the word's later tokens",
            "nats",
            "concept_copying",
            signed=True,
        ),
        Quantity(
            "concept_copying_control",
            "Concept copying, control",
            "the same with the head's output from another prompt, before another word",
            "nats",
            "concept_copying",
            signed=True,
        ),
        *_compositions(),
        Quantity(
            "path_patch_drop",
            "Lost by path patching",
            "the prefix matching that the reading head loses when its keys are read without what this head wrote",
            "share of attention",
            "path_patching",
            (-1.0, 1.0),
            True,
        ),
        Quantity("layer", "Layer", "in which layer the head is", "from 0", "place"),
        Quantity(
            IMPORTED,
            "Imported numbers",
            "one number a head, from a paper or another tool",
            "as given",
            "import",
        ),
    )
}
