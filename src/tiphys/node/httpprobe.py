"""Probes and hooks over HTTP: one request, and those that its answers lead to on the same host."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

_URL = "/?=&%:@!$'()*+,;~#[]-._"  # what stands for itself in a path with a query
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MOST_REDIRECTS = 10
_MOST_HEADERS = 1000
_BODY = 10 << 10  # bytes of an answer that are looked at, as upstream


class Answer(NamedTuple):
    """How a container answered. One that is well may be warned of."""

    well: bool
    text: str
    warning: bool = False


class _Unsendable(ValueError):
    pass


@dataclass(frozen=True)
class Get:
    """What to ask. Redirects to another host are not followed: whoever answers there is not the container."""

    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...]

    async def ask(self, timeout: float) -> Answer:
        """A status from 200 to 399 is well."""
        scheme = (self.scheme or "HTTP").lower()
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = self.path if self.path.startswith("/") else f"/{self.path}"
        url = f"{scheme}://{host}:{self.port}{quote(path, safe=_URL)}"
        asked = [url]
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(asked)
        except TimeoutError:
            why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        except OSError as error:
            parts = urlsplit(asked[-1])
            why = dial_error(parts.hostname or "", parts.port or _port(parts.scheme), error)
        except ValueError as error:
            why = str(error)
        return Answer(False, f'Get "{asked[-1]}": {why}')

    async def _follow(self, asked: list[str]) -> Answer:
        """`asked` is every URL so far, the one to ask next the last."""
        while True:
            status, location, body = await self._once(asked[-1])
            if not 200 <= status < 400:
                return Answer(False, f"HTTP probe failed with statuscode: {status}")
            if status < 300:
                return Answer(True, body)
            stays = Answer(True, f"Probe terminated redirects, Response body: {body}", warning=True)
            if status not in _REDIRECTS or not location:
                return stays
            target = quote(urljoin(asked[-1], location), safe=_URL)
            if urlsplit(target).hostname != urlsplit(asked[0]).hostname:
                return stays
            asked.append(target)
            if len(asked) > _MOST_REDIRECTS:
                raise ValueError(f"stopped after {_MOST_REDIRECTS} redirects")

    async def _once(self, url: str) -> tuple[int, str, str]:
        """(status, where it leads, the beginning of the body)."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f'unsupported protocol scheme "{parts.scheme}"')
        port = parts.port or _port(parts.scheme)
        headers = {
            "Host": parts.netloc,
            "User-Agent": "kube-probe/1.36",
            "Accept": "*/*",
            "Connection": "close",
        }
        headers |= dict(self.headers)
        _check(headers)
        context = _anyone() if parts.scheme == "https" else None
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            lines = [
                f"GET {target} HTTP/1.1",
                *(f"{name}: {value}" for name, value in headers.items()),
            ]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            return await _read(reader)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[int, str, str]:
    """No more than is needed: a body may have no end."""
    first = (await reader.readline()).decode("latin-1")
    if not first:
        raise ValueError("EOF")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise ValueError(f'malformed HTTP response "{first.strip()[:100]}"')
    status = int(words[1])
    if status < 300 or status >= 400:
        return status, "", ""
    headers: dict[str, str] = {}
    while (line := (await reader.readline()).strip()) and len(headers) < _MOST_HEADERS:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    length = headers.get("content-length", "")
    body = await reader.read(min(_BODY, int(length)) if length.isdigit() else _BODY)
    return status, headers.get("location", ""), body.decode(errors="replace")


def _check(headers: dict[str, str]) -> None:
    """A line break in a header would begin something that nobody checked."""
    for name, value in headers.items():
        if any(
            ord(character) < 32 or ord(character) == 127
            for character in name + value.replace("\t", "")
        ):
            raise _Unsendable(f'net/http: invalid header field value for "{name}"')


def _anyone() -> ssl.SSLContext:
    """Certificates of containers are not verified, as upstream."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def dial_error(host: str, port: int, error: OSError) -> str:
    """In the words of upstream's network library."""
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or error}"
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno is None or error.errno < 0:  # the name could not be resolved
        return f"dial tcp: lookup {host}: no such host"
    return f"dial tcp {where}: connect: {os.strerror(error.errno).lower()}"
