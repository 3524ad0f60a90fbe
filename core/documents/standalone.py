"""One page in one file: live figures and escaped text, the figure library inside, nothing fetched from anywhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from core.documents.replaceable import FileKind, check_replaceable, write_replacing

MARK = "<!-- written by HeadScope -->"
_PAGE = FileKind("page", "report.html", lambda begin: MARK.encode() in begin, "is not a page of HeadScope")
# No network, whatever the figure library may try: only what is in this file.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 "Source Sans", Helvetica, Arial, sans-serif; color: #1f2430; background: #fff; max-width: 70rem;
  margin: 2rem auto; padding: 0 1.5rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .35rem .9rem .35rem 0; text-align: left;
  border-bottom: 1px solid #d5d9e0; vertical-align: top; } td { font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1rem; } .pair > * { min-width: 0; }
figure { margin: 1rem 0; } figcaption, .note { color: #5a6275; font-size: .9rem; }
"""
# Figures are drawn while the page is still being read; once it is whole, they take the width they were given.
_SETTLE = "<script>addEventListener('load', () => dispatchEvent(new Event('resize')))</script>"
_CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["zoom", "pan", "select", "lasso"]}


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows, in words."""

    figure: go.Figure
    description: str


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, a table (rows with the same columns) and pictures that stand beside each other."""

    title: str
    paragraphs: Sequence[str] = ()
    rows: Sequence[dict[str, Any]] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()


def standalone_page(title: str, sections: Sequence[Section]) -> str:
    """The page as one HTML text. All text is escaped; figures keep hover and legend."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for number, section in enumerate(sections):
        body.append(_section(section, number))
    return (
        f'<!DOCTYPE html>\n{MARK}\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f'<script id="figure-library">{get_plotlyjs()}</script>{_SETTLE}</head><body>{"".join(body)}</body></html>\n'
    )


def write_page(path: Path, text: str) -> None:
    """Put the page at `path` whole or not at all; an earlier page of ours is replaced.

    Raises BadInput for a folder, a place that cannot be written, or a file that is not a page of ours.
    """
    write_replacing(path, text, _PAGE)


def check_page(path: Path) -> None:
    """Whether a page may be put at `path`; raises BadInput with the reason if not."""
    check_replaceable(path, _PAGE)


def _section(section: Section, number: int) -> str:
    parts = [f"<section><h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(text)}</p>" for text in section.paragraphs]
    if section.rows:
        parts.append(_table(section.rows))
    if section.pictures:
        drawn = "".join(_picture(picture, f"figure-{number}-{i}") for i, picture in enumerate(section.pictures))
        parts.append(f'<div class="pair">{drawn}</div>' if len(section.pictures) > 1 else drawn)
    parts += [f'<p class="note">{html.escape(text)}</p>' for text in section.notes]
    return "".join([*parts, "</section>"])


def _table(rows: Sequence[dict[str, Any]]) -> str:
    head = "".join(f"<th scope='col'>{html.escape(str(name))}</th>" for name in rows[0])
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _picture(picture: Picture, name: str) -> str:
    drawn = picture.figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=_CONFIG)
    said = html.escape(picture.description)
    return f'<figure role="group" aria-label="{said}">{drawn}<figcaption>{said}</figcaption></figure>'
