"""What is installed is what was written down: every version, and for the image every digest but torch's."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.browser.conftest import running_server

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)", re.MULTILINE)
# What makes the environment and its pins, and is in none of its requirements.
TOOLS = {"pip", "setuptools", "wheel", "headscope", "uv"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    return {plain(name): version for name, version in PIN.findall((ROOT / file).read_text())}


def test_every_version_that_is_installed_is_pinned() -> None:
    constraints = pins("constraints.txt")
    installed = {plain(each.metadata["Name"]): each.version.partition("+")[0] for each in distributions()}
    odd = {name: version for name, version in installed.items() if name not in TOOLS and constraints.get(name) != version}
    assert len(installed) > 80 and odd == {}, "run `make constraints` after a change of the requirements"


def test_the_requirements_and_the_digests_are_of_the_same_versions() -> None:
    constraints, locked = pins("constraints.txt"), pins("requirements.lock")
    for file in ("requirements.txt", "requirements-dev.txt", "requirements-cluster.txt"):
        for name, version in pins(file).items():
            assert constraints[name] == version
    assert {name: constraints.get(name) for name in locked} == locked and "torch" not in locked
    assert set(pins("requirements.txt")) - {"torch"} <= set(locked)
    assert not {"ray", "grpcio"} & set(locked), "the image asks for no workers"
    for entry in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text().partition("\n")[2]):
        assert "--hash=sha256:" in entry, entry


def test_the_images_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    text = (ROOT / "Dockerfile").read_text()
    command = json.loads("[" + re.search(r"HEALTHCHECK .*? CMD \[(.*?)\]\n", text, re.DOTALL)[1].replace("\\\n", " ") + "]")  # type: ignore[index]
    assert command[0] == "bash", "starts no Python"
    with running_server(tmp_path) as address:
        port = address.rsplit(":", 1)[1]
        here = [part.replace("8501", port) for part in command]
        assert subprocess.run(here, timeout=5, check=False).returncode == 0
    assert subprocess.run(here, timeout=5, check=False, stderr=subprocess.DEVNULL).returncode != 0


def test_the_image_is_built_on_bases_that_are_named_by_digest() -> None:
    text = (ROOT / "Dockerfile").read_text()
    defaults = dict(re.findall(r"^ARG (\w+)=(\S*)", text, re.MULTILINE))
    bases = re.findall(r"^FROM (?:--\S+ )*(\S+)", text, re.MULTILINE)
    assert bases
    for base in bases:
        named = re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], base)
        assert re.fullmatch(r"[\w./:-]+@sha256:[0-9a-f]{64}", named), named


@pytest.mark.parametrize("what", [".venv", "tests", "models", "results", ".git"])
def test_the_image_leaves_out_what_it_does_not_need(what: str) -> None:
    assert what in (ROOT / ".dockerignore").read_text().splitlines()
