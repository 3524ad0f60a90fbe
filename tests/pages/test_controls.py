"""Every control that the address holds: what it is drawn with is what it holds.

A control's value reaches the browser apart from the control, and once. Where that is lost, the browser begins with what the
control is drawn with: it would show one choice beside the numbers of another, and answer with it at the next click.
"""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.sharing.address import PARAMETERS
from tests.helpers.app import open_page, settled

# None of these is what a control has by itself, its first choice or its lowest value.
GIVEN = {
    "model": "two-layer",
    "length": "20",
    "sequences": "3",
    "seed": "2",
    "bos": "never",
    "tokens": "5:200",
    "score": "contrast",
    "threshold": "0.25",
    "head": "L1H2",
    "mode": "resample",
    "set": "both",
    "heads": "L0H1",
    "floor": "0.15",
    "effect_floor": "0.07",
    "first": "0.35",
    "second": "0.65",
    "curves": "all",
    "paragraph": "The cat sat on the mat, and the dog lay down beside it.",
    "sequence": "2",
    "correct_sign": "true",
    "correct_bos": "true",
    "recorded": "gpt2-small",
    "x": "previous_token",
    "y": "direct_effect",
    "colour": "sink",
    "windows": "16",
    "window_length": "64",
    "edges": "others",
    "step": "3",
}
WORDS = {"row": "text", "text": "one two one two", "corpus": "pasted", "pasted": "A short text. " * 200}
FOLDED = ("compared", "edges", "typed")
IN_THE_SIDEBAR = {"model", "score", "threshold", "head", "length", "sequences", "seed", "tokens", "bos"}
CORRECTIONS = {"correct_sign", "correct_rows", "correct_bos", "correct_controls"}
SHOWN = {
    "2_Attention": {"row", "sequence"},
    "3_Ablation": {"mode", "set", "heads", "paragraph"},
    "4_Causal_map": {"mode", "floor"},
    "5_Sweep": {"mode", "curves", "first", "second"},
    "6_Verdicts": {"effect_floor"},
    "8_Report": {"recorded"} | CORRECTIONS,
    "11_Text": {"corpus", "windows", "window_length", "mode", "heads", "edges", "text"},
    "12_Compare": {"x", "y", "colour"},
    "13_Tour": {"step"},
}
SHOWN_OF_WORDS = {"2_Attention": {"row", "text"}, "11_Text": {"corpus", "pasted"}}
# What no control holds, and what only a table in a folder of the server's has.
NOWHERE = {"done", "column"}


def controls(at: AppTest) -> dict[str, Any]:
    """Those of the address, by their names."""
    kinds = ("selectbox", "radio", "slider", "number_input", "text_input", "text_area", "toggle", "button_group")
    return {part.key: part for kind in kinds for part in at.get(kind) if part.key in PARAMETERS}


def begins_with(control: Any) -> object:
    """What the browser makes of the control where nothing says what it holds."""
    proto = control.proto
    if control.type in ("selectbox", "radio"):
        return proto.options[proto.default]
    if control.type == "button_group":
        return [proto.options[place].content for place in proto.default]
    if control.type == "slider":
        return proto.default[0]
    return proto.default


def holds(control: Any) -> object:
    if control.type in ("selectbox", "radio"):
        return control.format_func(control.value)
    if control.type == "button_group":
        return [control.value]
    return control.value


def check(page: str, given: dict[str, str], expected: set[str]) -> None:
    found = controls(settled(open_page(f"pages/{page}.py", opened=FOLDED, **given)))
    assert (IN_THE_SIDEBAR | expected) <= set(found)
    for name, control in found.items():
        assert begins_with(control) == holds(control), name
    for name in expected & set(given) - CORRECTIONS:
        assert str(found[name].value) == given[name].strip(), name


@pytest.mark.parametrize("page", SHOWN)
def test_every_control_is_drawn_with_what_it_holds(own_store: None, page: str) -> None:
    check(page, GIVEN, SHOWN[page])


@pytest.mark.parametrize("page", SHOWN_OF_WORDS)
def test_so_is_every_control_of_a_typed_text(own_store: None, page: str) -> None:
    check(page, GIVEN | WORDS, SHOWN_OF_WORDS[page])


def test_no_parameter_of_the_address_is_left_out() -> None:
    shown = IN_THE_SIDEBAR.union(*SHOWN.values(), *SHOWN_OF_WORDS.values())
    assert shown | NOWHERE == set(PARAMETERS)
