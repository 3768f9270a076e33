"""Receives uploaded files: limited in bytes and time, deleted when closed."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..sandbox.untrusted import printable
from .guard import Limits

# How long the rest of a refused file is still read, so that the client reads the answer.
_DRAIN_S = 2.0
# The least rate: a client may be slow, but must not hold a connection for nothing.
_GRACE_S = 5.0
_LEAST_BYTES_PER_S = 8_000
_MEMORY_BYTES = 2**20


_log = logging.getLogger(__name__)


class Refusal(Exception):
    """An answer other than 200: its status, a code for programs and a line for people."""

    def __init__(self, status: int, code: str, message: str, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_s = status, code, message, retry_s


class Upload(NamedTuple):
    """A file received."""

    file: IO[bytes]
    """At its beginning; it has no name on disk."""
    name: str
    """The client's name for it, without folders and control characters; for display only."""
    size: int


@asynccontextmanager
async def received(request: Request, limits: Limits, most: int, name: str) -> AsyncIterator[Upload]:
    """The file in a request: the body itself, or the one file of a form.

    Args:
        most: bytes of the file at most.
        name: what a body without a name is called.

    The file is deleted after the block.

    Raises Refusal (400, 408, 413, 422, 507 where it cannot be kept), ClientDisconnect.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most + _MEMORY_BYTES:
        await _drain(request.stream())
        raise _too_large(most)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    chunks = _bounded(request, limits.upload_s, most)
    try:
        if kind == "multipart/form-data":
            upload = await _from_form(request, chunks, name)
        else:
            upload = await _from_body(chunks, most, name)
    except OSError as error:  # larger ones wait on disk
        words = (error.strerror or str(error)).lower()
        _log.error("an upload cannot be kept in %s: %s", tempfile.gettempdir(), words)
        raise Refusal(507, "no_room", "there is no room for uploads now: try again later") from None
    try:
        if upload.size > most:
            raise _too_large(most)
        if upload.size == 0:
            raise Refusal(422, "empty", "there is no file in this request: send one")
        yield upload
    finally:
        upload.file.close()


async def _bounded(request: Request, most_s: float, most: int) -> AsyncGenerator[bytes, None]:
    """The body's chunks, as long as they keep to the limits."""
    begun_s, got = time.monotonic(), 0
    stream = request.stream()
    while True:
        spent_s = time.monotonic() - begun_s
        allowed_s = longest_upload_s(got, most_s)
        try:
            chunk = await asyncio.wait_for(_next(stream), max(allowed_s - spent_s, 0.001))
        except asyncio.TimeoutError:
            raise Refusal(408, "slow", "the file does not arrive in time: send it again") from None
        if chunk is None:
            return
        got += len(chunk)
        # A form has a little more than its file.
        if got > most + _MEMORY_BYTES:
            await _drain(stream)
            raise _too_large(most)
        yield chunk


def longest_upload_s(got: int, most_s: float) -> float:
    """Seconds that a body may take until `got` bytes have arrived; `most_s` at most."""
    return min(most_s, _GRACE_S + got / _LEAST_BYTES_PER_S)


async def _drain(stream: AsyncGenerator[bytes, None]) -> None:
    """Read and discard the rest for a moment: a client that still writes reads no answer."""

    async def read_on() -> None:
        async for _ in stream:
            pass

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read_on(), _DRAIN_S)


async def _next(stream: AsyncGenerator[bytes, None]) -> bytes | None:
    """The next chunk, None at the end."""
    try:
        return await stream.__anext__()
    except StopAsyncIteration:
        return None


async def _from_body(chunks: AsyncGenerator[bytes, None], most: int, name: str) -> Upload:
    file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115, as it is handed on
    try:
        async for chunk in chunks:
            if file.tell() + len(chunk) > most:
                raise _too_large(most)
            if file.tell() + len(chunk) > _MEMORY_BYTES:
                await asyncio.to_thread(file.write, chunk)
            else:
                file.write(chunk)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Upload(file, name, size)


async def _from_form(request: Request, chunks: AsyncGenerator[bytes, None], name: str) -> Upload:
    parser = MultiPartParser(
        request.headers, chunks, max_files=1, max_fields=4, max_part_size=16_384
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, "form", f"the form cannot be read: {printable(error.message)}") from None
    for value in form.values():
        if isinstance(value, UploadFile):
            shown = plain_name(value.filename or "") or name
            return Upload(value.file, shown, value.size or 0)
    raise Refusal(422, "empty", "there is no file in this form: send one in a field `file`")


def plain_name(name: str) -> str:
    """A file's name without folders, from the name that a client sent; for display only."""
    last = PurePosixPath(printable(name, 1000).replace("\\", "/")).name
    return printable(last.lstrip("."), 80)


def _too_large(most: int) -> Refusal:
    return Refusal(
        413, "too_large", f"the file may have {most / 2**20:g} MB at most: make it smaller"
    )
