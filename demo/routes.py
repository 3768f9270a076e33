"""What the page's scripts ask of the server: visits, clips and their files."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ferstream.stream.serve.guard import Limits, client_network
from ferstream.stream.serve.uploads import longest_upload_s

from .clip import DOWNLOADS, DRAWN, SAMPLE, VIEW, Clips, Job, harmless
from .errors import Busy, PageError, SessionGone, TooMuch
from .session import Session, Sessions

_CLIP = "clip-"
"""What the name of a clip's folder begins with."""
_log = logging.getLogger(__name__)
_ASSETS = Path(__file__).parent / "assets"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


class PageRoutes:
    """The routes below `/page`."""

    def __init__(self, sessions: Sessions, clips: Clips, limits: Limits) -> None:
        self._sessions = sessions
        self._clips = clips
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._receiving: Counter[str] = Counter()

    def app(self) -> Starlette:
        """An app to mount at `/page`."""
        visit = "/visits/{token}"
        routes = [
            Route("/assets/{name}", _asset),
            Route("/visits", self._begin, methods=["POST"]),
            Route(f"{visit}/here", self._here, methods=["POST"]),
            Route(f"{visit}/end", self._end, methods=["POST"]),
            Route(f"{visit}/clip", self._upload, methods=["POST"]),
            Route(f"{visit}/sample", self._sample, methods=["POST"]),
            Route(f"{visit}/clip", self._state, methods=["GET"]),
            Route(f"{visit}/clip", self._drop, methods=["DELETE"]),
            Route(f"{visit}/clips/{{clip}}/{{name}}", self._file, methods=["GET"]),
        ]
        return Starlette(routes=routes, exception_handlers={PageError: _refusal})

    async def _begin(self, request: Request) -> Response:
        session = await run_in_threadpool(self._sessions.begin, client_network(request.client))
        return JSONResponse({"visit": session.token}, 201)

    async def _here(self, request: Request) -> Response:
        self._session(request)
        return Response(status_code=204)

    async def _end(self, request: Request) -> Response:
        await run_in_threadpool(self._sessions.end, request.path_params["token"])
        return Response(status_code=204)

    async def _upload(self, request: Request) -> Response:
        """The body is the clip; `name` and `blur` stand in the query."""
        session = self._session(request)
        name = harmless(request.query_params.get("name", "clip"))
        address, most = client_network(request.client), self._limits.uploads
        # Half of what there is, at most: a few slow ones are not to keep others out.
        if self._receiving.total() >= most or self._receiving[address] >= max(most // 2, 1):
            raise Busy("other visitors are sending clips; try again in a moment")
        self._receiving[address] += 1
        folder: Path | None = None
        try:
            folder = await run_in_threadpool(self._fresh_folder, session)
            await self._receive(request, folder / "upload")
        except BaseException as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                words = (error.strerror or str(error)).lower()
                _log.error("a clip cannot be kept in %s: %s", session.folder, words)
                raise Busy("there is no room for clips now; try again later") from None
            raise
        finally:
            self._receiving -= Counter([address])
        job = Job(name, folder, folder / "upload", _wants_blur(request), address)
        return self._add(session, job)

    async def _receive(self, request: Request, file: Path) -> None:
        """Write the body down as it comes; raises `TooMuch` beyond the limits."""
        most = self._limits.upload_bytes
        too_large = TooMuch(
            f"the clip is larger than {_megabytes(most)}: cut it or make it smaller"
        )
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            raise too_large
        begun_s, size = time.monotonic(), 0
        chunks = request.stream().__aiter__()
        with file.open("wb") as out:
            while True:
                allowed_s = longest_upload_s(size, self._limits.upload_s)
                left_s = begun_s + allowed_s - time.monotonic()
                try:
                    chunk = await asyncio.wait_for(anext(chunks, b""), max(left_s, 0.01))
                except (TimeoutError, asyncio.TimeoutError):
                    raise TooMuch("the clip took too long to arrive; try a smaller one") from None
                except ClientDisconnect:
                    raise SessionGone("the page went away while it sent a clip") from None
                if not chunk:
                    break
                size += len(chunk)
                if size > most:
                    raise too_large
                out.write(chunk)
        if not size:
            raise TooMuch("the file is empty; choose another")

    async def _sample(self, request: Request) -> Response:
        session = self._session(request)
        folder = await run_in_threadpool(self._fresh_folder, session)
        return self._add(
            session, Job(SAMPLE, folder, None, _wants_blur(request), client_network(request.client))
        )

    def _add(self, session: Session, job: Job) -> Response:
        """Queue the clip, as the visit's only one; it may have been deleted while it came."""
        try:
            self._sessions.get(session.token)
            if not job.folder.is_dir():
                raise SessionGone("this clip was deleted while it was sent")
            self._clips.add(job)
        except PageError:
            shutil.rmtree(job.folder, ignore_errors=True)
            raise
        self._jobs[session.token] = job
        return JSONResponse(self._told(job), 202)

    async def _state(self, request: Request) -> Response:
        job = self._jobs.get(self._session(request).token)
        return JSONResponse({"state": "none"} if job is None else self._told(job))

    async def _drop(self, request: Request) -> Response:
        session = self._session(request)
        await run_in_threadpool(self._delete, session)
        return Response(status_code=204)

    async def _file(self, request: Request) -> Response:
        """A file of the finished clip; `download` in the query offers it to be saved.

        Every clip has addresses of its own: a browser that keeps what it got from one never takes
        it for another's.
        """
        session, name = self._session(request), request.path_params["name"]
        job = self._jobs.get(session.token)
        if job is None or job.id != request.path_params["clip"] or job.state != "done":
            raise SessionGone("there is no such clip; it may be deleted already")
        if name != VIEW and name not in DOWNLOADS:
            raise SessionGone("there is no such file of this clip")
        path = job.folder / name
        if not path.is_file():
            raise SessionGone("there is no such file of this clip")
        suffix, kind = DOWNLOADS.get(name, ("json", "application/json"))
        headers = {"Cache-Control": "no-store"}
        if "download" in request.query_params:
            saved = (
                f"{Path(job.name).stem or 'clip'}.{'annotated.' if name in DRAWN else ''}{suffix}"
            )
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(saved)}"
        return FileResponse(path, media_type=kind, headers=headers)

    def _session(self, request: Request) -> Session:
        return self._sessions.get(request.path_params["token"])

    def _fresh_folder(self, session: Session) -> Path:
        """A folder for a visit's next clip; the one before is deleted."""
        self._delete(session)
        if not session.on_end:
            session.on_end.append(lambda: self._delete(session))
        try:
            return Path(tempfile.mkdtemp(prefix=_CLIP, dir=session.folder))
        except FileNotFoundError:
            raise SessionGone("this visit has ended; reload the page") from None

    def _delete(self, session: Session) -> None:
        """Stop the visit's clip and delete what there is of it, and of one still on its way."""
        job = self._jobs.pop(session.token, None)
        if job is not None:
            self._clips.discard(job)
        for folder in session.folder.glob(f"{_CLIP}*"):
            # What a thread still writes to goes when it lets go.
            if job is None or folder != job.folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _told(self, job: Job) -> dict[str, Any]:
        return {
            "state": job.state,
            "clip": job.id,
            "name": job.name,
            "share": round(job.progress, 3),
            "frames": job.frames,
            "before": self._clips.place(job),
            "message": job.message,
            "files": [name for name in DOWNLOADS if (job.folder / name).is_file()]
            if job.state == "done"
            else [],
        }


async def _asset(request: Request) -> Response:
    """A script or style of the page."""
    path = _ASSETS / request.path_params["name"]
    if path.parent != _ASSETS or path.suffix not in _TYPES or not path.is_file():
        return Response("no such file", 404)
    headers = {"Cache-Control": "no-cache"}
    return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, PageError)
    return JSONResponse(error.to_json(), error.status)


def _wants_blur(request: Request) -> bool:
    return request.query_params.get("blur") == "1"


def _megabytes(count: int) -> str:
    return f"{count / 2**20:.0f} MB" if count >= 2**20 else f"{count} bytes"


def limits_json(limits: Limits) -> dict[str, float]:
    """What the page tells its visitors of the limits."""
    return {"bytes": limits.upload_bytes, "seconds": limits.clip_duration_s}
