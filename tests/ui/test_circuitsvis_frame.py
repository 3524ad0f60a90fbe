"""The page inside the iframe: tokens are data whatever they spell, and nothing in it points off this server."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from core.attention.cells import induction_cells
from core.figures.base.token_text import MAX_CHARACTERS, numbered_labels, visible_token
from core.probes.layout import Layout
from core.ui.components.circuitsvis_frame import SCRIPT_NAME, SCRIPT_URL, install_script, pattern_html, script_json

EVIL = ["<s>", "</script>", "<svg/onload=x=1>", "<!--", "]]>", "\u2028", "\u2029", "&lt;", '"', "'", "\\", "\0", "\u202e"]
CELLS = (np.array([5, 6]), np.array([2, 3]))


def page(tokens: list[str] = EVIL, *, dark: bool = False, label: str = "a pattern") -> str:
    pattern = np.tril(np.full((len(tokens), len(tokens)), 0.123456, dtype=np.float32))
    return pattern_html(tokens, pattern, CELLS, dark=dark, label=label)


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.urls: list[str] = []
        self.scripts: list[str] = []
        self.events: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]
        self.events += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and data.strip():
            self.scripts.append(data)


@pytest.mark.parametrize("dark", [False, True])
def test_tokens_make_no_element_and_end_no_script(dark: bool) -> None:
    plain, evil = Elements(page(["word"] * len(EVIL), dark=dark)), Elements(page(dark=dark))
    assert evil.tags == plain.tags
    assert evil.events == []
    html = page(dark=dark)
    assert html.count("</script>") == html.count("<script") == 2
    for token in ("<s>", "<svg", "<!--", "\u2028", "\u2029", "\u202e", "\0"):
        assert token not in html


def test_tokens_survive_as_they_are_written() -> None:
    (script,) = Elements(page()).scripts
    data = json.loads(re.search(r"const given = (\{.*\});", script)[1])
    assert data["tokens"][:5] == EVIL[:5]
    assert data["tokens"] == [visible_token(token) for token in EVIL]
    assert data["cells"] == [[5, 2], [6, 3]]
    assert data["attention"][3][1] == 0.1235


def test_a_label_stays_inside_its_attribute() -> None:
    assert Elements(page(label='"><img src=x onerror=x=1>')).tags == Elements(page()).tags


def test_nothing_points_off_this_server() -> None:
    html = page()
    assert Elements(html).urls == [SCRIPT_URL]
    assert not SCRIPT_URL.startswith("/")
    assert "//" not in re.sub(r"^\s*//.*$", "", html, flags=re.MULTILINE)


def test_the_policy_lets_this_script_run_and_no_other() -> None:
    html = page()
    (script,) = Elements(html).scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'self' 'sha256-{digest}'"


def test_the_same_arguments_give_the_same_page() -> None:
    assert page() == page()
    assert page() != page(dark=True)


def test_a_pattern_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="3 tokens"):
        pattern_html(["a", "b", "c"], np.zeros((2, 2)), CELLS, dark=False, label="")
    with pytest.raises(ValueError):
        pattern_html(
            ["a", "b"], np.full((2, 2), np.nan), (np.array([], dtype=int), np.array([], dtype=int)), dark=False, label=""
        )


def test_a_pattern_of_a_hundred_tokens_is_a_small_page() -> None:
    tokens = ["word"] * 101
    pattern = np.random.default_rng(0).dirichlet(np.ones(101), 101).astype(np.float32)
    assert len(pattern_html(tokens, pattern, induction_cells(Layout(50, 1)), dark=False, label="")) < 100_000


def test_script_json_is_json() -> None:
    value = {"<&>": ["\u2028", "\u2029", "</script>", 1.5, None]}
    assert json.loads(script_json(value)) == value
    assert not set(script_json(value)) & set("<>&\u2028\u2029")


def test_the_script_is_copied_from_the_package_once(tmp_path: Path) -> None:
    source = Path(str(distribution("circuitsvis").locate_file("circuitsvis/dist/cdn/iife.js")))
    target = install_script(tmp_path / "static")
    assert target.read_bytes() == source.read_bytes()
    before = target.stat().st_mtime_ns
    install_script(tmp_path / "static")
    assert target.stat().st_mtime_ns == before
    assert [path.name for path in target.parent.iterdir()] == [SCRIPT_NAME]


@pytest.mark.parametrize("wrong", ["changed", "link"])
def test_a_wrong_copy_is_replaced(tmp_path: Path, wrong: str) -> None:
    target = tmp_path / SCRIPT_NAME
    if wrong == "changed":
        target.write_text("alert(1)")
    else:
        # The server refuses links, so a link to the right file is a wrong copy, too.
        target.symlink_to(str(distribution("circuitsvis").locate_file("circuitsvis/dist/cdn/iife.js")))
    install_script(tmp_path)
    assert not target.is_symlink()
    assert target.stat().st_size > 1_000_000


def test_the_script_names_no_address_that_it_would_fetch() -> None:
    script = install_script().read_text(encoding="utf-8")
    assert not re.search(r"unpkg|jsdelivr|cdnjs|googleapis", script)


def test_visible_tokens() -> None:
    assert visible_token(" the") == "·the"
    assert visible_token("\n") == "↵"
    assert visible_token("a\u202eb") == "a⟨202e⟩b"
    assert visible_token("\u200b") == "⟨200b⟩"
    assert visible_token("日本語") == "日本語"
    assert len(visible_token("x" * 100)) == MAX_CHARACTERS
    assert numbered_labels(["<b>", "<b>"]) == ["0: &lt;b&gt;", "1: &lt;b&gt;"]
