"""The attention page in a real browser: CircuitsVis offline, tokens that spell markup, the grid by mouse and keyboard."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from core.models.paths import bundled_root
from tests.browser.conftest import NewPage, running_server
from tests.helpers.screen import calm, only

pytestmark = pytest.mark.browser
EVIL = ("<s>", "</script>", "<svg/onload=x=1>", "</style><s>", "<img/onerror=x>", "'\"><b>", "&lt;", "--><i>", "${x=1}")
MARKS = "canvas.over"


def open_attention(page: Page, address: str) -> FrameLocator:
    """Open the page and wait for CircuitsVis and the grid."""
    page.goto(address)
    expect(page.locator("iframe").first).to_be_visible()
    # While the page is being drawn there can be two copies of it.
    calm(page)
    only(page.locator("iframe"))
    frame = page.frame_locator("iframe")
    expect(frame.locator("#pattern canvas")).to_be_visible()
    expect(only(page.locator(MARKS))).to_be_visible()
    return frame


@pytest.fixture
def attention(server: str, new_page: NewPage) -> Page:
    """The page on a small bundled model."""
    page = new_page()
    open_attention(page, f"{server}/Attention?model=two-layer&length=20&head=L0H0")
    return page


def drawn_colours(canvas: FrameLocator | Page, selector: str) -> int:
    """How many different colours a canvas shows."""
    return canvas.locator(selector).evaluate(
        """canvas => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )


def click_head(page: Page, layer: int, head: int, heads: int = 4) -> None:
    """Click in the middle of a head of the grid."""
    box = page.locator(MARKS).bounding_box()
    assert box is not None
    cell = (box["width"] - 38) / heads
    page.mouse.click(box["x"] + 38 + (head + 0.5) * cell, box["y"] + 20 + (layer + 0.5) * cell)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_circuitsvis_and_the_grid_are_drawn_offline_in_both_themes(server: str, new_page: NewPage, scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    frame = open_attention(page, f"{server}/Attention?model=two-layer&length=20")
    page.wait_for_function(
        "() => document.querySelector('iframe')?.contentDocument?.querySelector('#pattern canvas')?.width > 300"
    )
    assert drawn_colours(frame, "#pattern canvas") > 20
    assert drawn_colours(page, "canvas.patterns") > 20
    filtered = frame.locator("#pattern canvas").evaluate("canvas => getComputedStyle(canvas).filter")
    assert ("invert" in filtered) == (scheme == "dark")
    # The cells that no query sees are a quiet grey of the theme.
    corner = page.locator("canvas.patterns").evaluate(
        "canvas => canvas.getContext('2d').getImageData(canvas.width - 12, canvas.height / 2 + 20, 1, 1).data[0]"
    )
    assert corner == (0x23 if scheme == "dark" else 0xF0)


def test_a_click_in_the_grid_picks_the_head_and_the_address_says_so(attention: Page) -> None:
    click_head(attention, 1, 2)
    expect(attention.get_by_role("heading", name=re.compile("Attention of L1H2"))).to_be_visible()
    expect(attention).to_have_url(re.compile(r"[?&]head=L1H2(&|$)"))
    click_head(attention, 0, 3)
    expect(attention).to_have_url(re.compile(r"[?&]head=L0H3(&|$)"))


def test_the_grid_is_worked_with_the_keyboard_alone(attention: Page) -> None:
    grid = attention.get_by_role("application", name=re.compile("2 layers by 4 heads"))
    grid.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowDown"):
        attention.keyboard.press(key)
    expect(attention.get_by_role("status").filter(has_text="L1H2")).to_have_text(re.compile(r"L1H2 · Induction .* \d\.\d{3}"))
    attention.keyboard.press("Enter")
    expect(attention).to_have_url(re.compile(r"[?&]head=L1H2(&|$)"))
    expect(grid).to_be_focused()


def test_a_rerun_does_not_send_the_patterns_again(server: str, new_page: NewPage) -> None:
    page = new_page()
    received: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    open_attention(page, f"{server}/Attention?model=mixture&length=50&head=L0H0")
    patterns = 3 * 8 * 101 * 102 // 2
    assert max(received) > patterns
    received.clear()
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    page.keyboard.press("Home")
    expect(page).to_have_url(re.compile("threshold=0"))
    page.wait_for_timeout(1000)
    # The head's own figures may come again, in messages of their own; none is as large as all heads' patterns.
    assert max(received) < patterns


def test_hovering_tells_the_head_and_its_score(attention: Page) -> None:
    box = attention.locator(MARKS).bounding_box()
    assert box is not None
    attention.mouse.move(box["x"] + 60, box["y"] + 50)
    expect(attention.locator(".tip")).to_have_text(re.compile(r"L0H0 · Induction"))


def test_the_grid_is_saved_as_a_picture(attention: Page, tmp_path: Path) -> None:
    with attention.expect_download() as download:
        attention.get_by_role("button", name="Save as PNG").click()
    download.value.save_as(tmp_path / "heads.png")
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")


def test_a_link_restores_text_and_head_and_survives_a_change_of_page(server: str, new_page: NewPage) -> None:
    page = new_page()
    open_attention(page, f"{server}/Attention?model=two-layer&length=20&row=text&text=red+fox+red+fox&head=L1H1")
    expect(page.get_by_role("textbox", name="Text")).to_have_value("red fox red fox")
    page.get_by_role("link", name="Heads", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("Heads of"))).to_be_visible()
    page.get_by_role("link", name="Attention", exact=True).click()
    expect(page.get_by_role("textbox", name="Text")).to_have_value("red fox red fox")
    expect(page).to_have_url(re.compile("text=red"))


def evil_model(root: Path) -> None:
    """A copy of a bundled model under `root`, whose words spell markup."""
    folder = root / "evil"
    shutil.copytree(bundled_root() / "two-layer", folder, ignore=shutil.ignore_patterns("checkpoints"))
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    words = (f"{EVIL[i % len(EVIL)]}{i // len(EVIL) or ''}" for i in range(len(tokenizer["model"]["vocab"])))
    special = {"<bos>": 0, "<unk>": 1}
    tokenizer["model"]["vocab"] = special | {next(words): i for i in tokenizer["model"]["vocab"].values() if i > 1}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")


def test_tokens_that_spell_markup_neither_run_nor_vanish(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_page: NewPage
) -> None:
    evil_model(tmp_path)
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    with running_server(store) as address:
        page = new_page()
        open_attention(page, f"{address}/Attention?model=evil&length=9&tokens=2:11&head=L1H1")
        page.wait_for_timeout(1500)
        for frame in page.frames:
            assert frame.evaluate("[typeof window.x, typeof window.hacked]") == ["undefined", "undefined"]
        tokens = page.locator(".token-loss .token").evaluate_all("spans => spans.map(span => span.firstChild.textContent)")
        assert sorted(tokens[1:10]) == sorted(EVIL)
        page.get_by_text("Its pattern as a heat map").click()
        expect(page.locator(".st-key-panel-pattern .ytick text").first).to_be_visible()
        labels = page.locator(".st-key-panel-pattern .ytick text").all_text_contents()
        assert any(label.endswith("</script>") for label in labels)
        assert any(label.endswith("<s>") for label in labels)
        assert page.frame_locator("iframe").locator("body *").evaluate_all(
            "elements => [...new Set(elements.map(element => element.tagName))].sort()"
        ) == ["CANVAS", "DIV", "P", "SCRIPT"]
        # The page must not outlive its server.
        page.goto("about:blank")
