"""Where a camera's address leads: redirects followed here, so that its password stays with it.

FFmpeg and GStreamer follow an RTSP redirect by themselves, give the user's name and password to
whoever answers there, and go round in a circle or read an answer without end for as long as it
lasts. So a camera is asked first, by as few words as they would use, and they are told the address
at the end of the way.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import ssl
import time
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from ..errors import SourceDenied, SourceError, SourceRefused
from .base import without_password
from .failures import address_failure
from .specs import is_rtsp

_MOST = 5
_MAX_ANSWER_BYTES = 64 * 1024
_PORTS = {"rtsp": 554, "rtsps": 322}
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def led_to(url: str, limit_s: float) -> str:
    """The address to open for one that a user named: itself, or where its camera redirects to.

    The name and password in `url` go to its own scheme, host and port and nowhere else. Every step
    may take `limit_s`. Raises `SourceRefused` for redirects without end or to something else than a
    camera, `SourceDenied` for a wrong password or a place that wants its own, `SourceTimeout`.
    """
    named = urlsplit(url)
    if not is_rtsp(url):
        return url
    here = url
    for _ in range(_MOST):
        begun_s = time.monotonic()
        try:
            answer = _asked(urlsplit(here), "@" in named.netloc or here != url, begun_s + limit_s)
        except (OSError, ValueError) as error:
            raise address_failure(here, error, time.monotonic() - begun_s, limit_s) from None
        if answer is None:
            return here
        if answer.status == 401:
            raise _denied(url, here)
        there = urljoin(_without_user(here), answer.fields.get("location", ""))
        if not is_rtsp(there) or not urlsplit(there).hostname:
            raise SourceRefused(f"{without_password(url)} redirects to what is no camera")
        here = _with_user(there, named) if _place(urlsplit(there)) == _place(named) else there
    raise SourceRefused(f"{without_password(url)} redirects without end: name another address")


def _denied(url: str, here: str) -> SourceError:
    if here == url:
        return SourceDenied(f"{without_password(url)} wants a user name and password that fit")
    return SourceDenied(
        f"{without_password(url)} redirects to {without_password(here)}, which wants a password "
        "of its own: name that address"
    )


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or _PORTS.get(scheme)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _with_user(url: str, named: SplitResult) -> str:
    parts = urlsplit(url)
    user, at, _ = named.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=user + at + parts.netloc.rpartition("@")[2]))


class _Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    """By names in small letters."""
    challenges: list[str]


def _asked(camera: SplitResult, described: bool, until_s: float) -> _Answer | None:
    """A redirect, or a refusal of name and password; None for whatever else it answers.

    Raises OSError where it cannot be reached or is silent.
    """
    host, port = camera.hostname or "", _place(camera)[2] or 554
    with (
        socket.create_connection((host, port), _left_s(until_s)) as plain,
        _wrapped(plain, camera, host) as connection,
    ):
        challenge, number = "", 0
        # A description makes some cameras set up their picture and refuse who comes next (503)
        # until it is taken down: it is asked for only where a password must not go astray.
        for method in ("OPTIONS", "DESCRIBE") if described else ("OPTIONS",):
            for attempt in range(2):
                number += 1
                request = _request(camera, method, number, challenge)
                connection.settimeout(_left_s(until_s))
                connection.sendall(request.encode())
                answer = _answer(connection, until_s)
                if answer is None or 300 <= answer.status < 400:
                    return answer
                if answer.status != 401 or not answer.challenges:
                    break
                challenge = _best(answer.challenges)
                if attempt == 1 or camera.username is None or not challenge:
                    return answer
    return None


def _wrapped(plain: socket.socket, camera: SplitResult, host: str) -> socket.socket:
    if camera.scheme.lower() != "rtsps":
        return plain
    # Cameras sign their certificates themselves; the captures do not look at them either.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host)


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("silent")
    return left_s


def _request(camera: SplitResult, method: str, number: int, challenge: str) -> str:
    uri = _without_user(urlunsplit(camera))
    lines = [f"{method} {uri} RTSP/1.0", f"CSeq: {number}", "User-Agent: ferstream"]
    if method == "DESCRIBE":
        lines.append("Accept: application/sdp")
    if challenge:
        user, password = unquote(camera.username or ""), unquote(camera.password or "")
        lines.append(f"Authorization: {_credentials(challenge, method, uri, user, password)}")
    return "\r\n".join(lines) + "\r\n\r\n"


def _answer(connection: socket.socket, until_s: float) -> _Answer | None:
    """The next answer, its body left out; None where it speaks no RTSP or too much of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        connection.settimeout(_left_s(until_s))
        piece = connection.recv(4096)
        if not piece or len(data) > _MAX_ANSWER_BYTES:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("utf-8", "replace").split("\r\n")
    found = re.match(r"RTSP/\d\.\d (\d{3})\b", first)
    if not found:
        return None
    fields, challenges = {}, []
    for line in rest:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
        if name.strip().lower() == "www-authenticate":
            challenges.append(value.strip())
    length = fields.get("content-length", "0")
    missing = min(int(length), _MAX_ANSWER_BYTES) - len(body) if length.isdigit() else 0
    while missing > 0:
        connection.settimeout(_left_s(until_s))
        piece = connection.recv(min(missing, 4096))
        if not piece:
            break
        missing -= len(piece)
    return _Answer(int(found[1]), fields, challenges)


def _best(challenges: list[str]) -> str:
    """The one that shows the password to nobody, where there is a choice."""
    digests = [one for one in challenges if one.lower().startswith("digest")]
    known = [one for one in digests if _parameters(one).get("algorithm", "MD5").upper() in _HASHES]
    basics = [one for one in challenges if one.lower().startswith("basic")]
    return (*known, *basics, "")[0]


def _parameters(challenge: str) -> dict[str, str]:
    found = re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', challenge)
    return {name.lower(): quoted or plain for name, quoted, plain in found}


def _credentials(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """What answers a challenge (RFC 7617, RFC 7616)."""
    if challenge.lower().startswith("basic"):
        return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    told = _parameters(challenge)
    realm, nonce, algorithm = (told.get(name, "") for name in ("realm", "nonce", "algorithm"))

    def digest(*parts: str) -> str:
        return _HASHES[algorithm.upper() or "MD5"](":".join(parts).encode()).hexdigest()

    known, asked = digest(user, realm, password), digest(method, uri)
    given = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
    extra = ""
    if "auth" in told.get("qop", "").split(","):
        own = secrets.token_hex(8)
        given["response"] = digest(known, nonce, "00000001", own, "auth", asked)
        extra = f', qop=auth, nc=00000001, cnonce="{own}"'
    else:
        given["response"] = digest(known, nonce, asked)
    if "opaque" in told:
        given["opaque"] = told["opaque"]
    if algorithm:
        extra += f", algorithm={algorithm}"
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in given.items()) + extra
