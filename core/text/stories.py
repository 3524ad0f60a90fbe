"""Stories in the bundled models' own words: sentences written for HeadScope, told of others each time.

The bundled models know 510 words and nothing else. Within a story the same animal, place and thing come back, as names do in
any text, and so do whole phrases; between stories hardly anything does.
"""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path

from core.errors import BadInput

COUNT = 120
_SEED = 14
# What a story draws of each.
_LEAST = {"kinds": 5, "animals": 2, "places": 2, "things": 2, "times": 1, "sentences": 1}
_MADE_OF = Path(__file__).with_name("stories.json")


@lru_cache(maxsize=4)
def stories(known: frozenset[str] | None = None) -> tuple[str, ...]:
    """All stories; always the same ones. known: the words that a model knows, where it knows still fewer.

    Raises BadInput where it knows too few for a story.
    """
    parts = json.loads(_MADE_OF.read_text(encoding="utf-8"))
    if known is not None:
        parts = {name: [kept for text in texts if (kept := _known_part(text, known))] for name, texts in parts.items()}
    if any(len(parts[name]) < least for name, least in _LEAST.items()):
        raise BadInput("The model knows too few words for the built-in stories: choose another text.")
    drawn = random.Random(_SEED)
    return tuple(_story(drawn, parts) for _ in range(COUNT))


def _known_part(text: str, known: frozenset[str]) -> str:
    return " ".join(word for word in text.split() if word in known or word.startswith("{"))


def _story(drawn: random.Random, parts: dict[str, list[str]]) -> str:
    """Every sentence once, in a random order, told of one cast."""
    cast = {f"k{i}": kind for i, kind in enumerate(drawn.sample(parts["kinds"], _LEAST["kinds"]), start=1)}
    for letter, kind in (("a", "animals"), ("p", "places"), ("o", "things")):
        cast |= {f"{letter}{i}": name for i, name in enumerate(drawn.sample(parts[kind], _LEAST[kind]), start=1)}
    cast["t"] = drawn.choice(parts["times"])
    return " ".join(sentence.format(**cast) for sentence in drawn.sample(parts["sentences"], len(parts["sentences"])))
