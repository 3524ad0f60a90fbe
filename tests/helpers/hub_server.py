"""A small local server that speaks the model hub's protocol, serving repositories from a folder.

Like the hub, it describes a repository under `/api/models`, or a data set's under `/api/datasets`, answers HEAD and GET of
`/{repo}/resolve/{commit}/{file}` with ETag and commit headers, and sends large files from another host name by a redirect. A
data set's repository is `datasets/owner/name`, as in its addresses. It can be told to refuse a
repository, to cut a file off, or to send damaged bytes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

LARGE = (".safetensors", ".bin", ".pth")
_DATASETS = "datasets"


class HubServer:
    """Serves `folder/owner/name/*` on a free port of the loopback interface; use it in a `with` statement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gated: set[str] = set()
        self.cut_once: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.failing: set[str] = set()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def file_server_url(self) -> str:
        """Another name of the same machine, as the hub's large files come from another host."""
        return f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def repo(self, repo_id: str) -> Path:
        """The folder of a repository, made if it is not there."""
        path = self.folder / repo_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def files(self, repo_id: str) -> list[str]:
        root = self.folder / repo_id
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def children(self, repo_id: str, under: str) -> list[str]:
        """What lies directly in a folder of a repository."""
        root = self.folder / repo_id
        return sorted(path.relative_to(root).as_posix() for path in (root / under).glob("*"))

    def fetched(self, filename: str) -> list[dict[str, str]]:
        """The headers of every GET that asked for a file's bytes."""
        return [headers for method, path, headers in self.requests if method == "GET" and path.endswith("/" + filename)]

    def commit(self, repo_id: str) -> str:
        """A repository's newest commit: its files' digests."""
        hasher = hashlib.sha1(usedforsecurity=False)
        for name in self.files(repo_id):
            hasher.update(name.encode() + etag_of(self.folder / repo_id / name).encode())
        return hasher.hexdigest()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer()

            def do_GET(self) -> None:
                self.answer()

            def answer(self) -> None:
                path = unquote(urlparse(self.path).path).strip("/")
                hub.requests.append((self.command, "/" + path, {k.lower(): v for k, v in self.headers.items()}))
                parts = path.split("/")
                if not path:
                    self.send({}, b"hub")
                elif parts[:2] == ["api", "models"]:
                    self.describe("/".join(parts[2:4]), tree="tree" in parts[4:])
                elif parts[:2] == ["api", _DATASETS]:
                    repo_id, asked = "/".join(parts[1:4]), parts[4:]
                    if asked[:1] == ["paths-info"]:
                        self.tell_paths(repo_id)
                    else:
                        self.describe(repo_id, tree="tree" in asked, under="/".join(asked[2:]))
                elif parts[0] == _DATASETS and parts[3:4] == ["resolve"]:
                    self.resolve("/".join(parts[:3]), "/".join(parts[5:]))
                elif parts[0] == "large":
                    self.send_file(hub.folder / "/".join(parts[1:]), {})
                elif len(parts) >= 5 and parts[2] == "resolve":
                    self.resolve("/".join(parts[:2]), "/".join(parts[4:]))
                else:
                    self.refuse(404, "EntryNotFound")

            def do_POST(self) -> None:
                self.answer()

            def tell_paths(self, repo_id: str) -> None:
                """What of the asked paths is there: a file with its size, a folder, or nothing."""
                sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
                body = json.loads(sent) if sent.startswith("{") else parse_qs(sent)
                self.send({"Content-Type": "application/json"}, json.dumps(self.entries(repo_id, body["paths"])).encode())

            def entries(self, repo_id: str, names: Iterable[str]) -> list[dict[str, object]]:
                places = ((name, hub.folder / repo_id / name) for name in names)
                return [
                    {"type": "directory", "path": name, "oid": "", "tree_id": ""}
                    if place.is_dir()
                    else {"type": "file", "path": name, "size": place.stat().st_size, "oid": etag_of(place)}
                    for name, place in places
                    if place.exists()
                ]

            def describe(self, repo_id: str, tree: bool, under: str = "") -> None:
                if repo_id in hub.failing:
                    return self.refuse(500, "")
                if not (hub.folder / repo_id).is_dir():
                    return self.refuse(404, "RepoNotFound")
                siblings = [
                    {"rfilename": name, "size": (hub.folder / repo_id / name).stat().st_size} for name in hub.files(repo_id)
                ]
                if tree:
                    names = hub.files(repo_id) if "recursive=True" in self.path else hub.children(repo_id, under)
                    body: object = self.entries(repo_id, names)
                else:
                    body = {"id": repo_id, "modelId": repo_id, "sha": hub.commit(repo_id), "private": False, "tags": []}
                    body |= {"downloads": 0, "likes": 0, "gated": repo_id in hub.gated, "siblings": siblings}
                return self.send({"Content-Type": "application/json"}, json.dumps(body).encode())

            def resolve(self, repo_id: str, name: str) -> None:
                if repo_id in hub.gated:
                    return self.refuse(401, "GatedRepo")
                path = hub.folder / repo_id / name
                if not (hub.folder / repo_id).is_dir():
                    return self.refuse(404, "RepoNotFound")
                if not path.is_file():
                    return self.refuse(404, "EntryNotFound")
                headers = {"X-Repo-Commit": hub.commit(repo_id), "ETag": f'"{etag_of(path)}"'}
                if not name.endswith(LARGE):
                    return self.send_file(path, headers)
                headers |= {"X-Linked-Etag": headers.pop("ETag"), "X-Linked-Size": str(path.stat().st_size)}
                headers["Location"] = f"{hub.file_server_url}/large/{repo_id}/{name}"
                return self.send(headers, b"", status=302)

            def send_file(self, path: Path, headers: dict[str, str]) -> None:
                body = path.read_bytes()
                if path.name in hub.damaged:
                    body = bytes([body[0] ^ 1]) + body[1:]
                start = 0
                if self.headers.get("Range"):
                    start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
                    headers |= {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
                cut = hub.cut_once.pop(path.name, None) if self.command == "GET" else None
                self.send(headers, body[start:], status=206 if start else 200, cut=cut)

            def send(self, headers: dict[str, str], body: bytes, status: int = 200, cut: int | None = None) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body if cut is None else body[:cut])
                if cut is not None:
                    self.close_connection = True

            def refuse(self, status: int, code: str) -> None:
                self.send({"X-Error-Code": code} if code else {}, b"", status=status)

        return Handler


def etag_of(path: Path) -> str:
    """What the hub calls a file: sha256 of a large one, git's object id of a small one."""
    body = path.read_bytes()
    if path.name.endswith(LARGE):
        return hashlib.sha256(body).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
