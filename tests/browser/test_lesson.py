"""A lesson in real browsers: the tour by deep link, a teacher who shows a page, and choices that a change of page keeps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import ROOT, NewPage, free_port
from tests.helpers.screen import finished, show_to_everybody

pytestmark = pytest.mark.browser


def no_wider_than_the_screen(page: Page) -> None:
    wide, there = page.get_by_test_id("stMain").evaluate("main => [main.scrollWidth, main.clientWidth]")
    assert wide <= there


def test_the_tour_by_deep_link_on_a_telephone(fresh_server: str, new_page: NewPage) -> None:
    page = new_page("dark", 390, 844)
    page.goto(f"{fresh_server}/Tour?step=3&done=1,2")
    expect(page.get_by_role("heading", name="3. Looking and mattering")).to_be_visible()
    expect(page.get_by_text("2 of 7 done (1, 2)")).to_be_visible()
    no_wider_than_the_screen(page)
    page.get_by_role("link", name="Open Causal map for this task").click()
    expect(page.get_by_role("heading", name="Causal map of two-layer")).to_be_visible()
    expect(page.get_by_text("Task 3 of 7.")).to_be_visible()
    top = page.locator(".st-key-open-task").evaluate("box => box.getBoundingClientRect().top")
    assert top >= page.get_by_test_id("stHeader").evaluate("bar => bar.getBoundingClientRect().bottom"), "its edge is in sight"
    no_wider_than_the_screen(page)
    # The address of the page is a bookmark of the task, too.
    expect(page).to_have_url(re.compile(r"/Causal_map\?.*model=two-layer.*step=3&done=1%2C2"))
    # What answers it can be far from the task: the way is below the page, too.
    expect(page.get_by_role("link", name="Answer it")).to_be_visible()
    page.get_by_role("link", name="Answer task 3").click()
    field = page.get_by_role("textbox", name="Your answer")
    field.fill("l0h1")
    field.press("Enter")
    expect(page.get_by_text("Not that one: L0H1 looks at the token before with 0.61")).to_be_visible()
    field.fill("l0h2")
    field.press("Enter")
    expect(page.get_by_text("L0H2. Right:")).to_be_visible()
    expect(page).to_have_url(re.compile(r"done=1%2C2%2C3"))
    expect(page.get_by_role("radio", name="3")).to_be_checked()
    page.get_by_role("button", name="Next: 4.").click()
    expect(page.get_by_role("heading", name="4. An ablation that fools you")).to_be_visible()
    no_wider_than_the_screen(page)
    page.reload()
    expect(page.get_by_text("3 of 7 done (1, 2, 3)")).to_be_visible()
    page.goto(f"{fresh_server}/Causal_map?model=two-layer&step=3&done=1,2,3")
    expect(page.get_by_role("link", name="Back to the tour")).to_be_visible()
    finished(page)
    expect(page.get_by_role("link", name="Answer task")).to_have_count(0)


def test_the_teacher_shows_a_page_and_begins_anew(fresh_server: str, new_page: NewPage) -> None:
    # The room is there before the teacher is.
    student = new_page("dark", 390, 844)
    student.goto(f"{fresh_server}/Tour?step=2&done=1")
    expect(student.get_by_text("1 of 7 done (1)")).to_be_visible()
    finished(student)
    teacher = new_page()
    teacher.goto(f"{fresh_server}/Teacher?model=two-layer&step=5&done=1")
    expect(teacher.get_by_alt_text("Square code of http://127.0.0.1")).to_be_visible()
    expect(teacher.get_by_text("1 window open: 1 under way in the tour")).to_be_visible()
    show_to_everybody(teacher, "Heads")
    # It comes by itself, to a window where nobody does anything.
    expect(student.get_by_text("The teacher shows Heads.")).to_be_visible()
    student.get_by_role("link", name="Go there").click()
    expect(student.get_by_role("heading", name="Heads of two-layer")).to_be_visible()
    expect(student).to_have_url(re.compile(r"/Heads\?model=two-layer.*step=2&done=1"))
    expect(student.get_by_text("The teacher shows")).to_have_count(0)
    teacher.get_by_text("Begin the lesson anew").click()
    teacher.get_by_role("button", name="Forget everybody's progress").click()
    expect(student.get_by_text("Task 2 of 7.")).to_have_count(0)
    expect(student).not_to_have_url(re.compile("done="))
    finished(student)


def test_a_choice_is_kept_when_a_page_is_left(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Heads?model=two-layer")
    expect(page.get_by_role("heading", name="Heads of two-layer")).to_be_visible()
    page.get_by_role("link", name="Ablation", exact=True).click()
    expect(page.get_by_role("heading", name="Ablation in two-layer")).to_be_visible()
    page.get_by_text("picked by hand", exact=True).click()
    field = page.get_by_role("textbox", name="Heads picked by hand")
    expect(field).to_be_enabled()
    field.fill("L1H1")
    field.press("Enter")
    expect(page.get_by_role("heading", name="1 head taken away: L1H1")).to_be_visible()
    page.get_by_role("link", name="Heads", exact=True).click()
    expect(page.get_by_role("heading", name="Heads of two-layer")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/Heads\?.*set=picked&heads=L1H1"))
    page.get_by_role("slider", name="Threshold").focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"set=picked&heads=L1H1.*"))
    expect(page).to_have_url(re.compile(r"threshold=0.51"))
    expect(page).to_have_url(re.compile(r"heads=L1H1"))


def test_a_workshop_prints_what_to_give_out_and_what_to_keep(store: Path, new_page: NewPage) -> None:
    command = [sys.executable, "-m", "core", "run", "--workshop", "--port", str(free_port())]
    environment = os.environ | {"HEADSCOPE_STORE": str(store / "results"), "HF_HUB_OFFLINE": "1"}
    with (store / "workshop.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        printed = [process.stderr.readline() for _ in range(2)]
        give_out, keep = (re.search(r"http://\S+", line)[0] for line in printed)  # type: ignore[index]
        page = new_page()
        # It is printed before anybody is served.
        for _ in range(300):
            try:
                page.goto(give_out)
                break
            except Error:
                page.wait_for_timeout(200)
        expect(page.get_by_role("heading", name="1. A score is not a claim")).to_be_visible()
        page.goto(keep.partition("?")[0])
        expect(page.get_by_text("This page is for whoever gives the lesson.")).to_be_visible()
        page.goto(keep)
        expect(page.get_by_role("heading", name="Who is here")).to_be_visible()
        expect(page).not_to_have_url(re.compile("key="))
        # Nothing of the page is still under way when its server ends.
        page.goto("about:blank")
    finally:
        process.kill()
        process.communicate()
