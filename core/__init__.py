"""HeadScope: find a language model's induction heads, and check the claim.

Ten lines do what a page does, with a name, a folder, or a model that is already in memory:

>>> from core import Request, ablate, heads_above, score_heads
>>> request = Request("by-construction", length=50)
>>> scores = score_heads(request)
>>> [head.name for head in heads_above(scores.mean("induction"), 0.5)]
['L1H2', 'L1H3']
>>> found = ablate(request, ["L1H3"], mode="zero", text=None)
>>> bool(found.ablated_losses.second_copy > found.clean_losses.second_copy + 3)
True

Importing this costs no torch: what is named below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.ablation.ablated import ablated as ablated
    from core.ablation.cached import ablate as ablate
    from core.ablation.cached_map import causal_map as causal_map
    from core.ablation.cached_sweep import sweep as sweep
    from core.attention.cached import score_heads as score_heads
    from core.circuits.cached import circuit as circuit
    from core.heads import Head as Head
    from core.heads import heads_above as heads_above
    from core.settings.request import Request as Request
    from core.verdicts.cached import judge as judge

_HOME = {
    "Head": "core.heads",
    "Request": "core.settings.request",
    "ablate": "core.ablation.cached",
    "ablated": "core.ablation.ablated",
    "causal_map": "core.ablation.cached_map",
    "circuit": "core.circuits.cached",
    "heads_above": "core.heads",
    "judge": "core.verdicts.cached",
    "score_heads": "core.attention.cached",
    "sweep": "core.ablation.cached_sweep",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
