"""Random models by construction whose heads' jobs are known: the truth that verdicts are measured against."""

from __future__ import annotations

import numpy as np

from core.models.built_in.circuit_spec import CircuitSpec, PlantedHead

# What a planted head must be called. A head that matches and writes nothing is called for the match alone.
Truth = dict[tuple[int, int], str]


def random_spec(seed: int, *, length: int = 16) -> tuple[CircuitSpec, Truth]:
    """A model with heads planted at random places and strengths, and the label each must get.

    One previous-token head in the first layer; in later layers one to three induction heads, some that match and suppress or
    write nothing, positional impostors at exactly `length - 1` back, duplicate-token heads and sinks. Everything that is
    not planted attends uniformly.
    """
    random = np.random.default_rng(seed)
    n_layers, n_heads = int(random.integers(2, 4)), int(random.integers(4, 7))
    later = [(layer, head) for layer in range(1, n_layers) for head in range(n_heads)]
    random.shuffle(later)
    first = [(0, int(head)) for head in random.permutation(n_heads)]
    planted = [PlantedHead(*first.pop(), "previous_token", strength=60.0)]
    truth: Truth = {(planted[0].layer, planted[0].head): "previous token"}

    def plant(place: tuple[int, int], kind: str, label: str, copying: float = 0.0) -> None:
        strength = float(random.uniform(7.0, 14.0))
        planted.append(PlantedHead(*place, kind, strength, copying, length - 1 if kind == "positional" else 0))  # type: ignore[arg-type]
        truth[place] = label

    for _ in range(int(random.integers(1, 3))):
        plant(later.pop(), "induction", "induction", copying=1.0)
    for kind, label, copying, chance in (
        ("induction", "anti-induction", -0.4, 0.4),
        ("induction", "matching, no effect", 0.0, 0.4),
        ("positional", "positional impostor", 0.0, 0.7),
        ("duplicate_token", "duplicate token", 0.0, 0.5),
        ("sink", "sink", 0.0, 0.5),
    ):
        if later and random.random() < chance:
            # Heads that need no earlier head may sit in any layer.
            anywhere = kind in ("positional", "duplicate_token", "sink") and first and random.random() < 0.5
            plant(first.pop() if anywhere else later.pop(), kind, label, copying)
    return CircuitSpec(tuple(planted), n_layers=n_layers, n_heads=n_heads, d_vocab=36, n_ctx=2 * length + 1), truth
