"""A Hugging Face Hub on loopback for the released client, which can be told to fail.

>>> with HubServer() as hub:                                             # doctest: +SKIP
...     commit = hub.add("org/model", {"config.json": b"{}", "model.safetensors": weights})
...     hub.fault("model.safetensors", flip=True, times=1)
...     HfApi(endpoint=hub.url).model_info("org/model")
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repositories import (
    MissingUploadError,
    Repository,
    StaleParentError,
    git_blob,
    is_large,
    sha256,
    sibling,
    tree_entry,
    tree_folder,
)

PIECE = 64 << 10
NAME = r"(?P<name>[^/]+/[^/]+)"


class Request(NamedTuple):
    """What a client asked: method, address without the host, headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Fault:
    """What goes wrong with the requests whose "METHOD /path" matches, so many times.

    status, headers, body: the answer instead of the right one. Of a file's content: flip its last
    byte, cut the connection after so many bytes, shorten it (and say so), send it so many times
    over (and say no length), pause (seconds) after each piece of `piece` bytes. `before` is called
    first, whatever else is wrong.
    """

    pattern: str
    times: float
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = b'{"error": "a fault"}'
    flip: bool = False
    cut: int | None = None
    shorten: int = 0
    repeat: int = 0
    pause: float = 0
    piece: int = PIECE
    before: Callable[[], object] | None = None


class HubServer:
    """Repositories behind the Hub's addresses. Tests read `requests` and write `fault`.

    `token`: when it is set, writing and private repositories need it, and another is refused.
    `large_uploads`: whether large files are uploaded beside the commit (LFS), or inside it.
    `redirects`: whether contents of large files lie on another host, as on the real Hub.
    `ranges`: whether a part of a file can be asked for.
    """

    ranges = True

    def __init__(
        self, *, token: str | None = None, large_uploads: bool = True, redirects: bool = True
    ) -> None:
        self.token, self.large_uploads, self.redirects = token, large_uploads, redirects
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub, self._server.connections = self, []
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
        """Commit files to the main branch of a repository, which is made if need be."""
        repository = self.repositories.setdefault(name, Repository(private))
        return repository.commit(files)

    def fault(self, pattern: str, *, times: float = float("inf"), **what: Any) -> Fault:
        """Let requests fail whose "METHOD /path" matches; see `Fault`. `faults.clear()` ends it."""
        self.faults.append(Fault(pattern, times, **what))
        return self.faults[-1]

    def struck(self, line: str, of_content: bool) -> Fault | None:
        """The fault that strikes a request now, if any."""
        with self.lock:
            for fault in self.faults:
                spoils = (
                    fault.flip
                    or fault.cut is not None
                    or fault.shorten
                    or fault.repeat
                    or fault.pause
                )
                if (
                    fault.times > 0
                    and bool(spoils) == of_content
                    and re.search(fault.pattern, line)
                ):
                    fault.times -= 1
                    return fault
        return None

    def contents_sent(self, path: str = "") -> int:
        """How many requests there were for the content of a file whose path has these words."""
        asked = [request for request in self.requests if request.method == "GET"]
        content = "/_files/" if self.redirects and is_large(path) else "/resolve/"
        return sum(content in request.path and path in request.path for request in asked)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: HubServer
    connections: list[Any]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """Hang up too: a connection that is kept alive would go on being served."""
        super().server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def handle_request(self) -> None:
        """Note the request, let a fault strike, check the token, and find who answers."""
        self.hub = self.server.hub
        self.raw = urlsplit(self.path)
        self.place = unquote(self.raw.path).rstrip("/")  # a mirror may add a slash
        self.query = parse_qs(self.raw.query)
        self.sent = self._body() if self.command in ("POST", "PUT", "DELETE") else b""
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.hub.requests.append(Request(self.command, self.path, headers))
        fault = self.hub.struck(f"{self.command} {self.place}", of_content=False)
        if fault and fault.before:
            fault.before()
        if fault and fault.status:
            return self._answer(fault.status, fault.body, fault.headers)
        if self._refused():
            return None
        for method, pattern, answer in _ROUTES:
            # The client quotes slashes inside a revision, so it is cut out of the raw path.
            found = re.fullmatch(pattern, self.raw.path.rstrip("/"))
            if found and self.command in method:
                parts = {key: unquote(value or "") for key, value in found.groupdict().items()}
                with self.hub.lock:
                    reply = answer(self, **parts)
                return reply() if callable(reply) else None
        return self._error(404, "NoRoute", f"no route {self.place}")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _refused(self) -> bool:
        given = self.headers.get("Authorization")
        if self.hub.token is None or "/_files/" in self.place or "/_lfs/" in self.place:
            return False
        if given is not None and given != f"Bearer {self.hub.token}":
            self._error(401, None, "Invalid credentials in Authorization header")
            return True
        writes = self.command in ("POST", "PUT", "DELETE") and "validate-yaml" not in self.place
        if given is None and (writes or self._hidden()):
            self._error(401, None, "Invalid username or password.")
            return True
        return False

    def _hidden(self) -> bool:
        """Whether who has no token shall not learn if there is such a repository."""
        found = re.match(rf"(?:/api/models)?/{NAME}(?:/|$)", self.place)
        if not found or found["name"].startswith("api/"):
            return False
        repository = self.hub.repositories.get(found["name"])
        return repository is None or repository.private

    def _answer(
        self, status: int, body: Any = b"", headers: Mapping[str, str] = {}, kind: str = "json"
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Type": f"application/{kind}", **headers}.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _error(self, status: int, code: str | None, text: str, **headers: str) -> None:
        said = {"X-Error-Message": text} | ({"X-Error-Code": code} if code else {})
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self._answer(status, {"error": text}, said | named)

    def _found(self, name: str, revision: str = "main") -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._error(404, "RepoNotFound", "Repository not found")
            return None
        commit = repository.resolve(revision)
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def whoami(self) -> None:
        self._answer(200, {"name": "tester", "type": "user", "orgs": []})

    def valid(self) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def create(self) -> None:
        asked = json.loads(self.sent)
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        where = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repositories:
            self._answer(409, {"error": "You already created this model repo", **where})
            return
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.hub.repositories[name] = Repository(private)
        self._answer(200, where)

    def describe(self, name: str, revision: str) -> None:
        if found := self._found(name, revision or "main"):
            repository, commit = found
            blobs = "blobs" in self.query
            files = sorted(repository.files(commit).items())
            facts = {"_id": name, "id": name, "modelId": name, "sha": commit, "tags": []}
            siblings = [sibling(path, data, blobs) for path, data in files]
            self._answer(200, facts | {"private": repository.private, "siblings": siblings})

    def tree(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            files = sorted(found[0].files(found[1]).items())
            listed = [tree_entry(path, data) for path, data in files]
            if self.query.get("recursive") != ["true"]:
                folders = sorted({path.partition("/")[0] for path, _ in files if "/" in path})
                listed = [one for one in listed if "/" not in one["path"]]
                listed += [tree_folder(path) for path in folders]
            self._answer(200, listed)

    def paths(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            files = found[0].files(found[1])
            form = self.sent[:1] != b"{"
            asked = parse_qs(self.sent.decode()) if form else json.loads(self.sent)
            known = [path for path in asked.get("paths", []) if path in files]
            self._answer(200, [tree_entry(path, files[path]) for path in known])

    def refs(self, name: str) -> None:
        if found := self._found(name):
            refs = found[0].refs.items()
            listed = [{"name": k, "ref": f"refs/heads/{k}", "targetCommit": v} for k, v in refs]
            self._answer(200, {"branches": listed, "tags": [], "converts": []})

    def tag(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            tag = json.loads(self.sent)["tag"]
            if tag in found[0].refs:
                self._answer(409, {"error": "Tag already exists"})
                return
            found[0].refs[tag] = found[1]
            self._answer(200, {})

    def preupload(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            files = found[0].files(found[1])
            asked = json.loads(self.sent)["files"]
            self._answer(200, {"files": [self._upload_of(one["path"], files) for one in asked]})

    def _upload_of(self, path: str, files: Mapping[str, bytes]) -> dict[str, Any]:
        """How a file is to be uploaded, and what lies there, so that the same is not sent again."""
        data = files.get(path)
        known = data and (sha256(data) if is_large(path) else git_blob(data))
        mode = "lfs" if self.hub.large_uploads and is_large(path) else "regular"
        return {"path": path, "shouldIgnore": False, "oid": known, "uploadMode": mode}

    def batch(self, name: str) -> None:
        del name
        objects = [
            {"oid": one["oid"], "size": one["size"]}
            | ({} if one["oid"] in self.hub.uploads else {"actions": self._action(one["oid"])})
            for one in json.loads(self.sent)["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects}, kind="vnd.git-lfs+json")

    def _action(self, oid: str) -> dict[str, Any]:
        return {"upload": {"href": f"{self.hub.url}/_lfs/{oid}", "header": {}}}

    def upload(self, oid: str) -> None:
        right = sha256(self.sent) == oid
        if right:
            self.hub.uploads[oid] = self.sent
        self._answer(200 if right else 400, {})

    def commit(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            try:
                made = found[0].commit_sent(revision, self.sent, self.hub.uploads)
            except StaleParentError:
                text = "A commit has happened since. Please refresh and try again."
                self._error(412, None, text)
            except MissingUploadError as missing:
                self._error(400, None, f"the large file {missing} was not uploaded")
            else:
                told = {"commitUrl": f"{self.hub.url}/{name}/commit/{made}", "commitOid": made}
                self._answer(200, told | {"success": True, "hookOutput": ""})

    def resolve(self, name: str, revision: str, file: str) -> Callable[[], None] | None:
        found = self._found(name, revision)
        if found is None:
            return None
        repository, commit = found
        data = repository.files(commit).get(file)
        if data is None:
            self._error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
            return None
        if not is_large(file):
            known = {"X-Repo-Commit": commit, "ETag": f'"{git_blob(data)}"'}
            return lambda: self._content(data, known)
        oid = sha256(data)
        known = {"X-Repo-Commit": commit, "ETag": f'"{oid}"', "X-Linked-Etag": f'"{oid}"'}
        known["X-Linked-Size"] = str(len(data))
        if not self.hub.redirects:
            return lambda: self._content(data, known)
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost")
        where = f"{elsewhere}/_files/{name}/{commit}/{file}?Signature=signed"
        self._answer(302, b"", known | {"Location": where})
        return None

    def content(self, name: str, commit: str, file: str) -> Callable[[], None]:
        data = self.hub.repositories[name].files(commit)[file]
        return lambda: self._content(data, {"ETag": f'"{sha256(data)}"'})

    def _content(self, data: bytes, headers: Mapping[str, str]) -> None:
        """A file's bytes from where the client wants them, spoiled by a fault that strikes."""
        line = f"{self.command} {self.place}"
        fault = self.hub.struck(line, of_content=True) or Fault("", 0)
        if fault.before:
            fault.before()
        data = data[: len(data) - fault.shorten]
        if fault.flip:
            data = data[:-1] + bytes([data[-1] ^ 255])
        asked = self.headers.get("Range", "") if self.hub.ranges else ""
        wanted = re.match(r"bytes=(\d+)-$", asked)
        start = int(wanted[1]) if wanted else 0
        headers = {**headers, "Accept-Ranges": "bytes", "Content-Length": str(len(data) - start)}
        if wanted and start >= len(data):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._stream(206 if wanted else 200, data[start:], headers, fault)

    def _stream(self, status: int, data: bytes, headers: Mapping[str, str], fault: Fault) -> None:
        if self.command == "HEAD" or not (fault.pause or fault.repeat or fault.cut is not None):
            self._answer(status, data, headers, "octet-stream")
            return
        self.send_response(status)
        for key, value in headers.items():
            if not (fault.repeat and key == "Content-Length"):
                self.send_header(key, value)
        self.end_headers()
        sent = data * max(fault.repeat, 1) if fault.cut is None else data[: fault.cut]
        for at in range(0, len(sent), fault.piece):
            self.wfile.write(sent[at : at + fault.piece])
            self.wfile.flush()
            time.sleep(fault.pause)
        self.close_connection = True


REVISION, FILE = r"(?P<revision>[^/]+)", r"(?P<file>.+)"
MODEL = rf"/api/models/{NAME}"
_READ, _WRITE = ("GET", "HEAD"), ("POST",)
_ROUTES: list[tuple[tuple[str, ...], str, Callable[..., Any]]] = [
    (_READ, "/api/whoami-v2", _Handler.whoami),
    (_WRITE, "/api/validate-yaml", _Handler.valid),
    (_WRITE, "/api/repos/create", _Handler.create),
    (_READ, rf"{MODEL}(?:/revision/{REVISION})?", _Handler.describe),
    (_READ, rf"{MODEL}/tree/{REVISION}", _Handler.tree),
    (_READ, rf"{MODEL}/refs", _Handler.refs),
    (_WRITE, rf"{MODEL}/paths-info/{REVISION}", _Handler.paths),
    (_WRITE, rf"{MODEL}/tag/{REVISION}", _Handler.tag),
    (_WRITE, rf"{MODEL}/preupload/{REVISION}", _Handler.preupload),
    (_WRITE, rf"{MODEL}/commit/{REVISION}", _Handler.commit),
    (_WRITE, rf"/{NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (("PUT",), r"/_lfs/(?P<oid>[0-9a-f]{64})", _Handler.upload),
    (_READ, rf"/{NAME}/resolve/{REVISION}/{FILE}", _Handler.resolve),
    (_READ, rf"/_files/{NAME}/(?P<commit>[^/]+)/{FILE}", _Handler.content),
]
