"""Two replicas behind a real nginx, as `deploy/nginx` sets it up, with one store: through it, beside it, and with one gone."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Error, expect
from watchdog.events import FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from websockets.exceptions import InvalidStatus

from tests.browser.conftest import free_port, running_server
from tests.helpers.nginx import MISSING, find_nginx
from tests.helpers.visitor import Visitor

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAME, PASSWORD = "teacher", "two heads: four"
AUTHORIZED = {"Authorization": "Basic " + base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()}
EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass
class Gateway:
    """An nginx in front of replicas."""

    address: str
    replicas: list[str]
    log: Path

    def ask(self, path: str, **headers: str) -> tuple[int, HTTPMessage, bytes]:
        """The answer's status, headers and bytes, whatever it is."""
        request = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def window_of(self, replica: str) -> str:
        """A cookie whose windows live in that replica."""
        for number in range(64):
            cookie = f"window-{number}"
            self.ask(f"/?{cookie}", Cookie=f"headscope_replica={cookie}", **AUTHORIZED)
            if self.answered_by(f"/?{cookie} ") == {replica}:
                return cookie
        raise AssertionError(f"none of 64 windows came to {replica}")

    def answered_by(self, path: str) -> set[str]:
        """The replicas that answered requests for what begins so; one is logged just after it was answered."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            lines = [line for line in self.log.read_text().splitlines() if f'"GET {path}' in line]
            if lines:
                return {f"http://{line.split()[-1]}" for line in lines}
            time.sleep(0.02)
        return set()


@contextmanager
def running_nginx(folder: Path, replicas: list[str]) -> Iterator[Gateway]:
    """The kept configuration, with replicas, address and password of its own."""
    nginx = find_nginx()
    assert nginx is not None, MISSING
    folder.mkdir()
    shutil.copy(DEPLOY / "nginx" / "nginx.conf", folder)
    port = free_port()
    (folder / "address.conf").write_text(f"listen 127.0.0.1:{port};\n")
    (folder / "replicas.conf").write_text(
        "".join(f"server {each.removeprefix('http://')} max_fails=1 fail_timeout=5s;\n" for each in replicas)
    )
    digest = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout.strip()
    (folder / "passwords").write_text(f"{NAME}:{digest}\n")
    # As root it would give its work to a user who may not look into this folder.
    more = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-g", more]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    gateway = Gateway(f"http://127.0.0.1:{port}", replicas, folder / "access.log")
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None and time.monotonic() < deadline, process.stderr and process.stderr.read()
            try:
                if gateway.ask("/_stcore/health")[0] == 200:
                    break
            except OSError:
                time.sleep(0.05)
        yield gateway
    finally:
        process.terminate()
        process.communicate(timeout=20)
    written = (folder / "error.log").read_text()
    assert "[emerg]" not in written and "[alert]" not in written, written


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both replicas keep their results, in `results`; the folders are there, so that what comes into them is seen."""
    folder = tmp_path_factory.mktemp("replicas")
    for number in range(256):
        (folder / "results" / f"{number:02x}").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def gateway(results: Path) -> Iterator[Gateway]:
    """Two replicas, one store."""
    with ExitStack() as stack:
        replicas = [stack.enter_context(running_server(results)) for _ in range(2)]
        yield stack.enter_context(running_nginx(results / "nginx", replicas))


@pytest.fixture(scope="module")
def written(results: Path, gateway: Gateway) -> Iterator[Counter[str]]:
    """How often each result was put into the store, by either replica: a file comes there by being renamed."""
    counts: Counter[str] = Counter()

    class Counting(FileSystemEventHandler):
        def on_moved(self, event: FileSystemEvent) -> None:
            if isinstance(event, FileMovedEvent) and str(event.dest_path).endswith(".safetensors"):
                counts[Path(str(event.dest_path)).stem] += 1

    observer = Observer()
    observer.schedule(Counting(), str(results / "results"), recursive=True)
    observer.start()
    yield counts
    observer.stop()
    observer.join()


def visitor(gateway: Gateway, page: str, parameters: dict[str, str], cookie: str) -> Visitor:
    """A window through the gateway, which says who it is as a browser does."""
    said = AUTHORIZED | {"Cookie": f"headscope_replica={cookie}", "Origin": gateway.address}
    return Visitor(gateway.address, page, parameters, headers=said)


def settled(counts: Counter[str]) -> Counter[str]:
    """What was written until now; what was renamed last is told of a moment later."""
    time.sleep(1.0)
    return Counter(counts)


def test_nobody_comes_in_without_the_password(gateway: Gateway) -> None:
    wrong = {"Authorization": "Basic " + base64.b64encode(f"{NAME}:guess".encode()).decode()}
    for path in ("/", "/Heads?model=two-layer", "/app/static/icon.svg", "/_stcore/host-config", "/media/x.csv"):
        assert gateway.ask(path)[0] == 401, path
        assert gateway.ask(path, **wrong)[0] == 401, path
    assert gateway.ask("/", **AUTHORIZED)[0] == 200
    for headers in ({}, wrong):
        with pytest.raises(InvalidStatus) as refused:
            Visitor(gateway.address, "Heads", headers=headers).open()
        assert refused.value.response.status_code == 401


def test_the_password_stays_at_the_door(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as replica:
        address = f"http://127.0.0.1:{replica.getsockname()[1]}"

        def listen() -> list[str]:
            # The gateway is asked whether it is there, and then for the page.
            heard = []
            for _ in range(2):
                connection, _ = replica.accept()
                with connection:
                    heard.append(connection.recv(65536).decode())
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return heard

        with ThreadPoolExecutor(1) as pool:
            heard = pool.submit(listen)
            with running_nginx(tmp_path / "nginx", [address]) as gateway:
                assert gateway.ask("/page", **AUTHORIZED)[0] == 200
            [_, request] = heard.result(20)
    assert request.startswith("GET /page ")
    assert "authorization" not in request.lower() and "x-forwarded-for: 127.0.0.1" in request.lower()


def test_a_page_elsewhere_opens_no_window_with_a_visitors_password(gateway: Gateway) -> None:
    for origin in ("https://elsewhere.example", "null", gateway.address + ".elsewhere.example", "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus) as refused:
            Visitor(gateway.address, "Heads", headers=AUTHORIZED | {"Origin": origin}).open()
        assert refused.value.response.status_code == 403, origin


def test_every_answer_has_the_security_headers(gateway: Gateway) -> None:
    # The page, what is not there, the question for the password, and a refusal.
    answers = [gateway.ask("/", **AUTHORIZED), gateway.ask("/media/none.csv", **AUTHORIZED), gateway.ask("/")]
    answers.append(gateway.ask("/", Origin="null"))
    assert [status for status, _, _ in answers] == [200, 404, 401, 403]
    for _, headers, _ in answers:
        assert {name: headers[name] for name in EVERYWHERE} == EVERYWHERE
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe-eval" not in policy and "http" not in policy
        assert "nginx/" not in headers["Server"]
        assert headers["Strict-Transport-Security"] is None, "a browser that came without TLS must be able to come back"


def test_scripts_come_compressed_to_who_can_read_that(gateway: Gateway) -> None:
    page = gateway.ask("/", **AUTHORIZED)[2].decode()
    script = "/static/js/" + page.partition("static/js/")[2].partition('"')[0]
    status, plain, whole = gateway.ask(script)
    assert status == 200 and plain["Content-Encoding"] is None and len(whole) > 10_000
    _, headers, small = gateway.ask(script, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip" and len(small) < len(whole) / 2
    assert gzip.decompress(small) == whole
    assert "Accept-Encoding" in headers["Vary"]


def test_a_window_stays_with_its_replica_and_windows_are_shared_out(gateway: Gateway) -> None:
    _, headers, _ = gateway.ask("/?first", **AUTHORIZED)
    kept = headers["Set-Cookie"].partition(";")[0]
    assert kept.startswith("headscope_replica=") and "HttpOnly" in headers["Set-Cookie"]
    at = gateway.answered_by("/?first ")
    assert len(at) == 1
    for number in range(8):
        _, again, _ = gateway.ask(f"/?again{number}", Cookie=kept, **AUTHORIZED)
        assert "headscope_replica" not in str(again.get_all("Set-Cookie"))
        assert gateway.answered_by(f"/?again{number} ") == at
    for number in range(32):
        gateway.ask(f"/?new{number}", **AUTHORIZED)
    gateway.ask("/?last", **AUTHORIZED)
    gateway.answered_by("/?last ")
    assert gateway.answered_by("/?new") == set(gateway.replicas)


def test_a_window_works_over_its_websocket_at_the_replica_of_its_page(gateway: Gateway) -> None:
    for replica in gateway.replicas:
        cookie = gateway.window_of(replica)
        before = len(gateway.log.read_text().splitlines())
        with visitor(
            gateway, "Heads", {"model": "two-layer", "length": "20", "sequences": "2", "seed": "31"}, cookie
        ) as window:
            window.until_still(120)
            assert not window.errors and "Heads of two" in window.shown
        # A websocket is logged when it ends.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            lines = gateway.log.read_text().splitlines()[before:]
            if found := [line for line in lines if "/_stcore/stream" in line]:
                break
            time.sleep(0.05)
        assert [(line.split()[-1], " 101 " in line) for line in found] == [(replica.removeprefix("http://"), True)]


def test_what_one_replica_has_computed_the_other_serves(gateway: Gateway, written: Counter[str], results: Path) -> None:
    one, other = map(gateway.window_of, gateway.replicas)
    asked = {"model": "two-layer", "length": "21", "sequences": "3", "seed": "77"}
    shown = []
    for cookie, new in ((one, True), (other, False)):
        before = settled(written)
        with visitor(gateway, "Heads", asked, cookie) as window:
            window.until_still(120)
            assert not window.errors
            shown.append([text for text in window.texts if "two" in text])
        more = settled(written) - before
        assert bool(more) == new, "the first computes, the second nothing"
    assert shown[0] == shown[1] and shown[0]


def test_what_both_are_asked_for_at_once_is_computed_once(gateway: Gateway, written: Counter[str]) -> None:
    cookies = [gateway.window_of(replica) for replica in gateway.replicas] * 2
    asked = {"model": "by-construction", "length": "100", "sequences": "24", "seed": "5"}
    before = settled(written)
    windows = [visitor(gateway, page, asked, cookie) for page in ("Heads", "Ablation") for cookie in cookies]

    def watch(window: Visitor) -> None:
        with window:
            window.until_still(300)

    with ThreadPoolExecutor(len(windows)) as room:
        list(room.map(watch, windows))
    assert [window.errors for window in windows] == [[]] * len(windows)
    new = settled(written) - before
    assert len(new) >= 5 and set(new.values()) == {1}, "every key once, by whichever replica came first"


def test_windows_go_on_at_another_replica_when_theirs_is_gone(tmp_path: Path) -> None:
    asked = {"model": "two-layer", "length": "20", "sequences": "2", "seed": "8"}
    with running_server(tmp_path) as stays, ExitStack() as stack:
        goes = stack.enter_context(running_server(tmp_path))
        with running_nginx(tmp_path / "nginx", [stays, goes]) as gateway:
            cookie = gateway.window_of(goes)
            with visitor(gateway, "Heads", asked, cookie) as window:
                shown = window.until_still(120).shown
            stack.close()
            with visitor(gateway, "Heads", asked, cookie) as window:
                window.until_still(120)
                assert not window.errors and window.shown == shown
            assert gateway.answered_by("/_stcore/stream") >= {stays}


def test_visitors_who_were_sent_on_bring_no_models_in(gateway: Gateway) -> None:
    """The replicas listen to this machine alone, and yet anybody may have come."""
    missing = {"model": "gpt2-xl"}
    with Visitor(gateway.replicas[0], "Heads", missing) as window:
        assert "visitors cannot bring models in" not in window.until_drawn().shown
    with visitor(gateway, "Heads", missing, "anybody") as window:
        assert "visitors cannot bring models in" in window.until_drawn().shown


@pytest.mark.browser
def test_every_page_is_drawn_under_the_policy(gateway: Gateway, browser: Browser) -> None:
    """In Chromium, by the password: nothing is refused by the policy, nothing leaves, the websocket is let in, too."""
    complaints: list[str] = []
    requests: list[str] = []
    context = browser.new_context(http_credentials={"username": NAME, "password": PASSWORD}, accept_downloads=True)
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and "/_stcore/" not in message.location.get("url", "")
            else None
        ),
    )
    asked = "model=two-layer&length=20&sequences=3&head=L1H0"
    for name, heading in (
        ("", "HeadScope"),
        ("Heads", "Heads of"),
        ("Attention", "Attention of"),
        ("Ablation", "Ablation"),
        ("Verdicts", "Verdicts"),
    ):
        page.goto(f"{gateway.address}/{name}?{asked}")
        expect(page.get_by_role("heading", name=heading).first).to_be_visible(timeout=90_000)
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=90_000)
        if name in ("Heads", "Ablation"):
            expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=60_000)
        if name == "Attention":
            expect(page.frame_locator("iframe").locator("#pattern canvas")).to_be_visible(timeout=60_000)
    # And the policy is in force: what is elsewhere is not reached.
    with pytest.raises(Error):
        page.evaluate("() => fetch('https://elsewhere.example/')")
    assert any("Content Security Policy" in text for text in complaints)
    context.close()
    assert [text for text in complaints if "elsewhere.example" not in text] == []
    assert {url for url in requests if not url.startswith((gateway.address, "data:", "blob:"))} <= {
        "https://elsewhere.example/"
    }


def test_the_compose_file_is_of_files_and_settings_that_there_are() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    replica, nginx = services["headscope"], services["nginx"]
    assert (DEPLOY / replica["build"]["context"] / "Dockerfile").is_file()
    source, _, where = nginx["volumes"][0].partition(":")
    assert (DEPLOY / source / "nginx.conf").is_file() and where.split(":")[0] in nginx["command"][
        nginx["command"].index("-c") + 1
    ]
    assert "server headscope:8501 " in (DEPLOY / "nginx" / "replicas.conf").read_text()
    listens = (DEPLOY / "nginx" / "address.conf").read_text().splitlines()[-1]
    assert listens == "listen 8080;" and nginx["ports"][0].endswith(":8080")
    documented = (DEPLOY.parent / "README.md").read_text()
    assert all(name in documented for name in replica["environment"] if name.startswith("HEADSCOPE_"))
