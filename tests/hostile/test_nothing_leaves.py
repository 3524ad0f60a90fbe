"""A server asks nobody for anything: not when it starts for a whole network, and not when a page elsewhere calls it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.browser.conftest import ROOT, free_port, log_of, start_server
from tests.helpers.visitor import Visitor

SMALL = {"model": "two-layer", "length": "20", "sequences": "2"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What processes that start from now on ask of any host but this machine: it all goes by way of a proxy, which notes it."""
    found: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def _note(self) -> None:
            found.append(f"{self.command} {self.path}")
            self.send_error(502)

        do_GET = do_HEAD = do_POST = do_CONNECT = _note  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Noting)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
    # What this process itself asks for goes by what it found at its first time: not by this proxy, once that is gone.
    monkeypatch.setattr(urllib.request, "_opener", None)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield found
    proxy.shutdown()


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_what_is_asked_of_another_host_would_be_seen(asked: list[str]) -> None:
    code = "from streamlit.net_util import get_external_ip; get_external_ip()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    assert asked == ["GET http://checkip.amazonaws.com/"]


def test_a_server_for_a_whole_network_asks_nobody(asked: list[str], tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"

    def refused(origin: str) -> bool:
        with pytest.raises(InvalidStatus) as answer:
            Visitor(address, "Heads", SMALL, headers={"Origin": origin}).open()
        return answer.value.response.status_code == 403

    with ended(start_server(tmp_path, port, "0.0.0.0")):
        # The first of all windows is one of a page elsewhere.
        assert refused("http://elsewhere.example") and refused("http://[")
        with Visitor(address, "Heads", SMALL) as window:
            assert not window.until_still().errors
        assert refused("https://192.0.2.7:8501")
    assert asked == []
    assert "external IP" not in log_of(tmp_path, port).read_text()


@pytest.mark.parametrize("workshop", [(), ("--workshop",)])
def test_the_command_that_serves_it_asks_nobody_and_says_what_to_open(
    asked: list[str], tmp_path: Path, workshop: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    command = [sys.executable, "-m", "core", "run", "--address", "0.0.0.0", "--port", str(free_port()), *workshop]
    said = tmp_path / "said"
    with said.open("wb") as log, ended(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)):
        deadline = time.monotonic() + 60
        while "URL: " not in said.read_text():
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
    [line] = [line for line in said.read_text().splitlines() if "URL: " in line]
    assert line.split("URL: ")[1].startswith("http://") and "0.0.0.0" not in line
    assert asked == [] and "external IP" not in said.read_text()
