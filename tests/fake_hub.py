"""A real server on loopback that plays the Hugging Face Hub, for `HF_ENDPOINT`."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from attrs import Factory, define, field

COMMIT = "c0ffee" + "0" * 34
GOOD, POOR, EXPIRED = "hf_good", "hf_poor", "hf_expired"
"""A token that may read everything, one that may read what is public, one that has expired."""


@define
class Repo:
    """A model, and what is wrong with it."""

    files: Mapping[str, bytes]
    private: bool = False
    gated: bool = False
    cut: Collection[str] = ()
    """Files whose transfer breaks after their first half, every time."""
    status: int | None = None
    """Every call about this model is answered with it."""
    held: dict[str, asyncio.Event] = field(factory=dict)
    """Files whose second half waits for the event."""


@define
class FakeHub:
    """Serves ``repos`` at ``url`` as HTTP does, without Xet; ``main`` is their only revision."""

    repos: dict[str, Repo] = field(factory=dict)
    url: str = ""
    calls: list[tuple[str, str]] = field(factory=list)
    """Method and path, in order."""
    sent: asyncio.Event = Factory(asyncio.Event)
    """Set when the first half of a held file is out."""

    @property
    def downloads(self) -> list[str]:
        """The files that were asked for, heads not counted."""
        marks = [path.partition("/resolve/")[2] for how, path in self.calls if how == "GET"]
        return sorted(mark.partition("/")[2] for mark in marks if mark)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        parts = request.path.removeprefix("/api/models").strip("/").split("/", 4)
        name, rest = "/".join(parts[:2]), parts[2:]
        repo = self.repos.get(name)
        if refused := _refusal(repo, request):
            return refused
        assert repo is not None
        if len(rest) > 1 and rest[1] not in ("main", COMMIT):
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}")
        match rest:
            case ["tree", *_]:
                return web.json_response([_entry(*file) for file in repo.files.items()])
            case ["resolve", _, path]:
                return await self._file(request, repo, path)
        return web.json_response(_description(name, repo))

    async def _file(self, request: web.Request, repo: Repo, path: str) -> web.StreamResponse:
        if repo.gated and _token(request) != GOOD:
            status = 403 if _token(request) else 401
            return _error(status, "GatedRepo", "Access to this model is restricted.")
        content = repo.files[path]
        response = web.StreamResponse(headers={"X-Repo-Commit": COMMIT, "ETag": _etag(content)})
        response.content_length = len(content)
        await response.prepare(request)
        if request.method == "GET":
            await response.write(content[: len(content) // 2])
            if path in repo.cut:
                assert request.transport is not None
                request.transport.abort()
                return response
            if path in repo.held:
                self.sent.set()
                await repo.held[path].wait()
            await response.write(content[len(content) // 2 :])
        return response


def _refusal(repo: Repo | None, request: web.Request) -> web.Response | None:
    token = _token(request)
    if token == EXPIRED:
        return _error(401, None, "Invalid credentials in Authorization header")
    if repo is None or (repo.private and token != GOOD):
        return _error(404 if token else 401, "RepoNotFound", "Repository not found")
    return _error(repo.status, None, "Not now") if repo.status else None


def _token(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _error(status: int, code: str | None, message: str) -> web.Response:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return web.json_response({"error": message}, status=status, headers=headers)


def _description(name: str, repo: Repo) -> dict[str, Any]:
    siblings = [{"rfilename": path, "size": len(content)} for path, content in repo.files.items()]
    return {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}


def _entry(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": _etag(content).strip('"')}


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha1(content).hexdigest()}"'


@asynccontextmanager
async def fake_hub(repos: Mapping[str, Repo]) -> AsyncIterator[FakeHub]:
    """A hub with these models."""
    hub = FakeHub(dict(repos))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hub._answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield hub
    finally:
        await runner.cleanup()
