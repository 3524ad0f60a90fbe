"""The tour on paper: a sheet with the tasks, and one with the answers; A4, in the fonts that every reader has."""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

import segno
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, HRFlowable, Image, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

from core.documents.replaceable import FileKind, check_replaceable, write_replacing
from core.errors import BadInput
from core.glossary import TERMS, Term
from core.tour.check import check_answer, found_for
from core.tour.step import Step
from core.tour.steps import MINUTES, STEPS

_MARGIN = 14 * mm
_QR = 30 * mm
_AUTHOR = "HeadScope"


def _is_sheet(begin: bytes) -> bool:
    return begin.startswith(b"%PDF-") and f"/Author ({_AUTHOR})".encode() in begin


_SHEET = FileKind("sheet", "tour.pdf", _is_sheet, f"is no sheet of {_AUTHOR}'s", looked_at=1 << 20)
_TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=20, leading=24)
_HEAD = ParagraphStyle("head", fontName="Helvetica-Bold", fontSize=11.5, leading=15, spaceBefore=7)
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=13.5)
_QUIET = ParagraphStyle("quiet", parent=_BODY, fontSize=9, leading=12, textColor="#4a5164")
_ANSWER = ParagraphStyle("answer", parent=_BODY, leftIndent=5 * mm, spaceBefore=2)
_ON_THE_SHEET = ("induction", "contrast", "nats", "ablation", "baseline", "p", "lift")
_HINT = ParagraphStyle("hint", parent=_QUIET, leftIndent=5 * mm)
_WORD = ParagraphStyle("word", parent=_QUIET, fontSize=8, leading=10.2)
# What the fonts of every reader lack, and what stands for it.
_IN_PRINT = str.maketrans({"−": "–", "→": "to", "≥": ">=", "≤": "<="})


def tour_sheet(*, answers: bool = False, address: str = "") -> bytes:
    """The sheet as a PDF. With `answers`, also what is right, why, and what it teaches, from the measured numbers.

    address: where the room finds the tour, printed with a square that a telephone reads.

    Raises ModelUnavailable where a step's model cannot be found.
    """
    parts: list[Flowable] = [_top(answers, address), Spacer(1, 3 * mm), HRFlowable(width="100%", color="#9aa1b2")]
    for number, step in enumerate(STEPS, start=1):
        parts.append(KeepTogether(_step(number, step, answers)))
    if not answers:
        parts.append(KeepTogether(_words([TERMS[word] for word in _ON_THE_SHEET])))
    written = io.BytesIO()
    name = "answers" if answers else "tasks"
    document = SimpleDocTemplate(
        written,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=f"HeadScope: the tour, {name}",
        author=_AUTHOR,
        invariant=True,
    )
    document.build(parts)
    return written.getvalue()


def check_sheet(path: Path) -> None:
    """Whether a sheet may be put at `path`; raises BadInput with the reason if not."""
    if path.suffix.lower() != ".pdf" and not os.path.isdir(path):
        raise BadInput(f"A sheet is a PDF: name a file that ends in .pdf, not {path.name!r}.")
    check_replaceable(path, _SHEET)


def write_sheet(path: Path, sheet: bytes) -> None:
    """Put the sheet at `path` whole or not at all; an earlier sheet is replaced. Raises BadInput as `check_sheet`."""
    check_sheet(path)
    write_replacing(path, sheet, _SHEET)


def _top(answers: bool, address: str) -> Flowable:
    said = [
        Paragraph("HeadScope: " + ("the tour, with answers" if answers else "the tour"), _TITLE),
        Spacer(1, 2 * mm),
        Paragraph(
            f"Which heads of a language model look back at what came before, and does it matter? {len(STEPS)} tasks, about "
            f"{MINUTES} minutes. A head is named by its layer and its number, both counted from 0: L1H3 is head 3 of layer 1.",
            _BODY,
        ),
    ]
    if not address:
        return Table([[said]], colWidths=["*"], style=[("LEFTPADDING", (0, 0), (-1, -1), 0)])
    said += [Spacer(1, 2 * mm), Paragraph(f"Open <b>{_printed(address)}</b>", _BODY)]
    square = io.BytesIO()
    segno.make(address, error="m").save(square, kind="png", scale=10, border=2)
    row = [said, Image(square, width=_QR, height=_QR, hAlign="RIGHT")]
    style = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0)]
    return Table([row], colWidths=["*", _QR + 4 * mm], style=style)


def _step(number: int, step: Step, answers: bool) -> list[Flowable]:
    where = f"Page {step.page}, model {step.view.request.model}, about {step.minutes} minutes"
    parts: list[Flowable] = [
        Paragraph(f"{number}. {_printed(step.title)}", _HEAD),
        Paragraph(_printed(where), _QUIET),
        Paragraph(_printed(step.task), _BODY),
    ]
    if step.choices:
        parts.append(Paragraph("Choose: " + _printed("; ".join(step.choices.values())) + ".", _QUIET))
    if not answers:
        line = HRFlowable(width="60%", color="#9aa1b2", hAlign="LEFT", spaceBefore=4.5 * mm, spaceAfter=0)
        return [*parts, line]
    found = found_for(step)
    right = check_answer(step, found.right, found).sentence
    answer = step.choices.get(found.right, found.right)
    return [
        *parts,
        Paragraph(f"<b>{_printed(answer)}</b>. {_printed(right)}", _ANSWER),
        Paragraph(_printed(found.teaches), _ANSWER),
        Paragraph("If somebody is stuck: " + _printed(" ".join(step.hints)), _HINT),
    ]


def _words(terms: Sequence[Term]) -> list[Flowable]:
    parts: list[Flowable] = [Paragraph("Words", _HEAD)]
    for term in terms:
        paper = "" if term.paper is None else f" ({term.paper.authors}, {term.paper.address})"
        parts.append(Paragraph(f"<b>{_printed(term.word)}</b>: {_printed(term.meaning + paper)}", _WORD))
    return parts


def _printed(sentence: str) -> str:
    """A sentence as the sheet's own markup: everything escaped, slanted where the screen slants it."""
    return re.sub(r"\*([^*]+)\*", r"<i>\1</i>", html.escape(sentence.translate(_IN_PRINT), quote=False))
