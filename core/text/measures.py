"""What every measure on text is called and means: words alone, for tables and addresses."""

from __future__ import annotations

TITLES = {
    "natural_induction": "Natural induction",
    "distance_control": "Distance control",
    "key_control": "Key control",
    "lift": "Lift",
    "headvis": "HeadVis's formula",
    "value_weighted": "Value-weighted natural induction",
    "previous_token": "Previous token",
    "duplicate_token": "Duplicate token",
    "sink": "First token (sink)",
    "entropy": "Entropy",
    "distance": "Attention distance",
}

MEANINGS = {
    "natural_induction": "attention to the tokens that came after earlier copies of the current one",
    "distance_control": "the same distances back, from a query where the token before the key is another one",
    "key_control": "the same keys, from a query whose token is another one",
    "lift": "natural induction less the larger of its two controls",
    "headvis": "the same with the current token itself counted in `A A`, and attention below .01 left out",
    "value_weighted": "natural induction, each weight times the size of the value that it brings",
    "previous_token": "attention to the token just before",
    "duplicate_token": "attention to earlier copies of the current token",
    "sink": "attention to the first token of the window",
    "entropy": "how spread out: 0 is one token, 1 is all tokens equally",
    "distance": "how many tokens back it looks on the average",
}
