"""An address as a square of dots that a telephone reads."""

from __future__ import annotations

import html

import segno
import streamlit as st


def square_code(address: str) -> None:
    """The square, dark on white whatever the theme: telephones read no other."""
    picture = segno.make(address, error="m").svg_data_uri(scale=6, border=3, dark="#000000", light="#ffffff", omitsize=True)
    said = html.escape(f"Square code of {address}")
    st.html(f'<img src="{html.escape(picture)}" alt="{said}" style="width: min(100%, 20rem); display: block">')
