"""A hub for tests: the few routes of the Hugging Face hub that a download uses, on the loopback interface.

It serves made repositories to the real huggingface_hub, so that its locks, its resuming and its cache layout are what
the tests see. Routes and headers: huggingface_hub 2.4, `hf_api.py` and `file_download.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from listening import listening


@dataclass
class Repository:
    """Files of one commit. gated: metadata are public, files are not. large: files from this size are "large files".

    tags: of the repository, as `license:…`.
    """

    files: dict[str, bytes]
    gated: bool = False
    large: int = 1000
    tags: tuple[str, ...] = ()

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(name.encode() + data for name, data in sorted(self.files.items()))).hexdigest()

    def large_file(self, name: str) -> dict[str, object] | None:
        data = self.files[name]
        digest = hashlib.sha256(data).hexdigest()
        return (
            None if len(data) < self.large else {"sha256": digest, "oid": digest, "size": len(data), "pointerSize": 1}
        )


@dataclass
class HubServer:
    """Repositories by id; requests as (method, path). silent: accept connections and never answer.

    stall: send so many bytes of a large file and then nothing, until the server closes.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False
    stall: int | None = None
    url: str = ""

    def downloads(self) -> list[str]:
        """Names of the files whose content was asked for, in order."""
        return [
            path.rpartition("/resolve/")[2].split("/", 1)[1]
            for method, path in self.requests
            if "/resolve/" in path and method == "GET"
        ]

    @contextmanager
    def running(self) -> Iterator[HubServer]:
        closing = threading.Event()
        with listening(_handler(self, closing)) as self.url:
            try:
                yield self
            finally:
                closing.set()


def _handler(hub: HubServer, closing: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = urlsplit(self.path).path
            hub.requests.append((self.command, path))
            if hub.silent:
                closing.wait(60)
                return
            if match := re.fullmatch(r"/api/models/(?P<id>[^/]+/[^/]+?)(/(revision|tree)/(?P<revision>.+))?", path):
                self._describe(match["id"], match["revision"], tree="/tree/" in path)
            elif match := re.fullmatch(r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", path):
                self._file(match["id"], match["file"])
            else:
                self._send(404, {"X-Error-Code": "RepoNotFound"}, b"{}")

        def _describe(self, id_: str, revision: str | None, *, tree: bool) -> None:
            repository = hub.repositories.get(id_)
            if repository is None:
                return self._send(404, {"X-Error-Code": "RepoNotFound"}, b"{}")
            if revision not in (None, "main", repository.commit):
                return self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
            files = [
                {
                    "type": "file",
                    "path": name,
                    "rfilename": name,
                    "size": len(data),
                    "oid": "0",
                    "blobId": "0",
                    "lfs": repository.large_file(name),
                }
                for name, data in repository.files.items()
            ]
            body = (
                files
                if tree
                else {"id": id_, "sha": repository.commit, "siblings": files, "tags": list(repository.tags)}
            )
            return self._send(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

        def _file(self, id_: str, name: str) -> None:
            repository = hub.repositories[id_]
            if repository.gated:
                return self._send(403, {"X-Error-Code": "GatedRepo"}, b"{}")
            data = repository.files[name]
            large = repository.large_file(name)
            headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            if large:
                headers |= {"X-Linked-Etag": f'"{large["sha256"]}"', "X-Linked-Size": str(len(data))}
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
            if self.command == "GET" and large and hub.stall is not None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: hub.stall])
                closing.wait(60)
                return None
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._send(206 if start else 200, headers, data[start:])

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler
