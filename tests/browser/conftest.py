"""A real server on a free port and a real browser; every page also checks that nothing left the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
# A first page imports the model library on a machine that may be busy with other tests.
expect.set_options(timeout=90_000)


@contextmanager
def running_server(store: Path, *, odd: bool = False) -> Iterator[str]:
    """A server process of its own with its results in `store`; gives its address. odd: it is sent what no browser sends."""
    port = free_port()
    process = start_server(store, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)
    written = log_of(store, port).read_text()
    assert "Traceback" not in written, written
    # What a browser sends is never taken for an attack.
    assert odd or ("a window sent values" not in written and "a window was closed" not in written), written


def start_server(store: Path, port: int, address: str = "127.0.0.1") -> subprocess.Popen[bytes]:
    """A server process on that port, once it answers; whoever starts it ends it."""
    command = [sys.executable, "-m", "core", "run", "--address", address, "--port", str(port)]
    environment = os.environ | {"HEADSCOPE_STORE": str(store / "results"), "HF_HUB_OFFLINE": "1"}
    log_path = log_of(store, port)
    with log_path.open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}", process, log_path)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def log_of(store: Path, port: int) -> Path:
    """Where a server writes what it says."""
    return store / f"server-{port}.log"


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {log_path.read_text()}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.read() == b"ok":
                    return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server was not up in {START_SECONDS} s: {log_path.read_text()}")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all servers of a test run, those of other workers too, keep their results and write their logs."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "browser"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def server(store: Path) -> Iterator[str]:
    """The address of a server that the tests share."""
    with running_server(store) as address:
        yield address


@pytest.fixture
def fresh_server(store: Path, server: str) -> Iterator[str]:
    """The address of a server that nobody has visited yet; results that were measured before are at hand."""
    with running_server(store) as address:
        yield address


@dataclass
class Watched:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def note_request(self, request: Request) -> None:
        """Every request, of whatever kind."""
        self.requests.append(request.url)

    def note_message(self, message: ConsoleMessage) -> None:
        """Errors in the console; a page below the root is looked for there first by Streamlit itself, with a 404."""
        if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
            self.complaints.append(f"{message.text} at {message.location.get('url')}")

    def left_the_machine(self) -> list[str]:
        """Requests to anywhere but this machine."""
        hosts = ((url, urlsplit(url)) for url in self.requests)
        return [url for url, parts in hosts if parts.scheme not in ("data", "blob", "file") and parts.hostname != "127.0.0.1"]


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Makes pages, each in a context of its own; afterwards: no request left the machine, and no error in the console."""
    watched = Watched()
    contexts = []

    def make(color_scheme: str = "light", width: int = 1440, height: int = 1400, touch: bool = False) -> Page:
        context = browser.new_context(
            has_touch=touch,
            is_mobile=touch,
            viewport={"width": width, "height": height},
            color_scheme="dark" if color_scheme == "dark" else "light",
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", watched.note_request)
        page.on("websocket", lambda socket: watched.requests.append(socket.url))
        page.on("console", watched.note_message)
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert watched.requests, "the test opened no page"
    assert watched.left_the_machine() == []
    assert watched.complaints == []
