"""`pip install .` gives the front door and the `headscope` command, with everything that they read, away from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with HeadScope in it; what it needs is taken from the one that runs the tests."""
    place = tmp_path_factory.mktemp("installed")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / "source" / name)
    venv.create(place / "env", with_pip=False)
    binaries = place / "env" / "bin"
    [packages] = (place / "env" / "lib").glob("python*/site-packages")
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    words = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install", "--no-deps", "--quiet", "."]
    subprocess.run(words, cwd=place / "source", check=True, timeout=400)
    # So that nothing can be read from there by chance.
    shutil.rmtree(place / "source")
    return binaries


def _environment(place: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"HEADSCOPE_STORE": str(place / "store"), "HEADSCOPE_MODELS": str(place / "models")}


def test_the_command_and_the_front_door_work_anywhere(installed: Path, tmp_path: Path) -> None:
    words = [str(installed / "headscope"), "score", "--model", "two-layer", "--json"]
    done = subprocess.run(
        words, cwd=tmp_path, env=_environment(tmp_path), check=True, capture_output=True, text=True, timeout=120
    )
    assert json.loads(done.stdout)["behaviour"]["state"] == "present"
    code = "import core; print(core.__file__); print(core.score_heads('mixture').mean('induction').shape)"
    words = [str(installed / "python"), "-c", code]
    done = subprocess.run(
        words, cwd=tmp_path, env=_environment(tmp_path), check=True, capture_output=True, text=True, timeout=120
    )
    where, shape = done.stdout.splitlines()
    assert Path(where).is_relative_to(installed.parent), "the checkout was imported, not the installation"
    assert shape.startswith("(")
    assert (Path(where).parent / "py.typed").is_file()


def test_bad_words_get_one_line_with_the_name_of_the_command(installed: Path, tmp_path: Path) -> None:
    for words in (["scroe"], ["run", "--port", "99999"], ["run", "--json"]):
        done = subprocess.run(
            [str(installed / "headscope"), *words],
            cwd=tmp_path,
            env=_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_run_serves_the_dashboard(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = [str(installed / "headscope"), "run", "--port", str(port)]
    server = subprocess.Popen(words, cwd=tmp_path, env=_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
                    assert answer.read() == b"ok"
                    break
            except OSError:
                assert server.poll() is None, "the server ended"
                time.sleep(0.5)
        else:
            raise AssertionError("no answer")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/app/static/icon.svg", timeout=10) as answer:
            assert answer.status == 200, "its settings and its static files are those of the installation"
    finally:
        server.terminate()
        server.wait(20)
