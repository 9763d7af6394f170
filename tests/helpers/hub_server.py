"""A hub of Hugging Face in memory: what huggingface_hub asks one for models, on a port of this machine.

Files up to `PLAIN` bytes are answered directly, larger ones by a redirect to another host (of another name, at least). What
was asked stands in `Server.requests`; `Server.at_piece` is called between the pieces of a file, so that a test can wait, look
or kill there.
"""

import dataclasses
import functools
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Callable

PLAIN = 4096  # bytes
PIECE = 1 << 14


@dataclasses.dataclass
class Repository:
    """`revisions`: name -> {file: content}. `token`: who may read it (None: anyone). `gated`: and must have agreed to terms."""

    revisions: dict[str, dict[str, bytes]]
    token: str | None = None
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        """The commit of a branch, or of a commit; None: there is none such."""
        for name, files in self.revisions.items():
            commit = hashlib.sha1(
                repr(sorted((file, etag(content)) for file, content in files.items())).encode()
            ).hexdigest()
            if revision in (name, commit):
                return commit
        return None

    def files(self, revision: str) -> dict[str, bytes] | None:
        commit = self.commit(revision)
        return next((files for name, files in self.revisions.items() if self.commit(name) == commit), None)


def etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass(frozen=True)
class Request:
    """`what`: refs, model, head, file. `start`: the first byte that was asked for."""

    what: str
    repository: str
    revision: str = ""
    file: str = ""
    start: int = 0


class Server(http.server.ThreadingHTTPServer):
    """`moved`: old name of a repository -> new. `breaks`: file -> bytes after which its connection breaks, once.
    `fails`: a status that everything is answered with."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.moved: dict[str, str] = {}
        self.breaks: dict[str, int] = {}
        self.fails: int | None = None
        self.requests: list[Request] = []
        self.at_piece: Callable[[Request, int], None] = lambda request, sent: None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A client that was killed is no error here."""

    def asked(self, what: str) -> list[Request]:
        return [request for request in self.requests if request.what == what]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes = b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.pop("length", len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        if self.server.fails:
            return self.answer(self.server.fails)
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        for pattern, act in (
            (r"/api/models/([^/]+/[^/]+)/refs", self.refs),
            (r"/api/models/([^/]+/[^/]+)/revision/(.+)", self.model),
            (r"/api/models/([^/]+/[^/]+)/tree/(.+)", self.tree),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
            (r"/large/([^/]+/[^/]+)/([^/]+)/(.+)", self.content),
        ):
            if match := re.fullmatch(pattern, path):
                return self.allowed(match[1], functools.partial(act, *match.groups()))
        self.answer(404)

    do_GET = do_HEAD = handle_any

    def allowed(self, name: str, act):
        if new := self.server.moved.get(name):
            return self.answer(307, Location=self.path.replace(name, new))
        if self.path.startswith("/large/"):  # whoever knows such an address has been allowed in; no token is sent there
            return act()
        repository = self.server.repositories.get(name)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repository is None or (repository.token and not repository.gated and token != repository.token):
            return self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Invalid username or password.")
        # What a gated repository holds may be seen by all, but its files only by who agreed.
        if repository.gated and token != repository.token and not self.path.startswith("/api/"):
            return self.answer(403 if token else 401, X_Error_Code="GatedRepo", X_Error_Message="Access is restricted.")
        act()

    def note(self, *about, **more) -> Request:
        request = Request(*about, **more)
        self.server.requests.append(request)
        return request

    def refs(self, name: str):
        self.note("refs", name)
        repository = self.server.repositories[name]
        branches = [
            {"name": revision, "ref": f"refs/heads/{revision}", "targetCommit": repository.commit(revision)}
            for revision in repository.revisions
        ]
        self.answer(200, json.dumps({"branches": branches, "converts": [], "tags": []}).encode())

    def found(self, name: str, revision: str) -> dict[str, bytes] | None:
        files = self.server.repositories[name].files(revision)
        if files is None:
            self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        return files

    def model(self, name: str, revision: str):
        self.note("model", name, revision)
        if (files := self.found(name, revision)) is not None:
            siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
            commit = self.server.repositories[name].commit(revision)
            self.answer(200, json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode())

    def tree(self, name: str, revision: str):
        self.note("tree", name, revision)
        if (files := self.found(name, revision)) is not None:
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": etag(content)[:40]}
                for file, content in files.items()
            ]
            self.answer(200, json.dumps(entries).encode())

    def resolve(self, name: str, revision: str, file: str):
        if self.command == "HEAD":
            self.note("head", name, revision, file)
        if (files := self.found(name, revision)) is None:
            return
        headers = {"X_Repo_Commit": self.server.repositories[name].commit(revision)}
        if file not in files:
            self.answer(404, X_Error_Code="EntryNotFound", **headers)
        elif len(files[file]) > PLAIN:
            where = f"/large/{name}/{headers['X_Repo_Commit']}/{file}"
            linked = {"X_Linked_Etag": f'"{etag(files[file])}"', "X_Linked_Size": str(len(files[file]))}
            self.answer(302, Location=f"http://localhost:{self.server.server_port}{where}", **headers, **linked)
        else:
            self.content(name, revision, file, ETag=f'"{etag(files[file])}"', **headers)

    def content(self, name: str, revision: str, file: str, **headers):
        content = self.server.repositories[name].files(revision)[file]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if asked:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if asked else 200)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", len(content) - start)
        self.end_headers()
        if self.command == "GET":
            self.pieces(self.note("file", name, revision, file, start), content)

    def pieces(self, request: Request, content: bytes):
        breaks = self.server.breaks.pop(request.file, None)
        for sent in range(request.start, len(content), PIECE):
            self.server.at_piece(request, sent)
            if breaks is not None and sent >= breaks:
                self.close_connection = True
                return
            self.wfile.write(content[sent : sent + PIECE])
            self.wfile.flush()
        self.server.at_piece(request, len(content))


def used(monkeypatch, server: Server, cache) -> None:
    """Makes huggingface_hub ask the server, in this process; it has read its environment already."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.delenv("HF_TOKEN", raising=False)
