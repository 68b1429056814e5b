"""Probes and hooks over HTTP: one request, and those that its answers lead to on the same host."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

_URL = "/?=&%:@!$'()*+,;~#[]-._"  # characters that are not quoted in a path with a query
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MOST_REDIRECTS = 10
_MOST_HEADERS = 1000
_BODY = 10 << 10  # bytes of an answer that are read, as upstream


class Answer(NamedTuple):
    """How a container answered. A success may carry a warning."""

    well: bool
    text: str
    warning: bool = False


class _Response(NamedTuple):
    """`location` is where a redirect leads; `body` is its start."""

    status: int
    location: str = ""
    body: str = ""


@dataclass(frozen=True)
class Get:
    """A request. Redirects to another host are not followed: who answers there is not the
    container."""

    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...]

    async def ask(self, timeout: float) -> Answer:
        """Success is a status from 200 to 399, within `timeout` seconds."""
        scheme = (self.scheme or "HTTP").lower()
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = self.path if self.path.startswith("/") else f"/{self.path}"
        url = f"{scheme}://{host}:{self.port}{quote(path, safe=_URL)}"
        urls = [url]
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(urls)
        except TimeoutError:
            problem = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        except OSError as error:
            parts = urlsplit(urls[-1])
            problem = dial_error(parts.hostname or "", parts.port or _port(parts.scheme), error)
        except ValueError as error:
            problem = str(error)
        return Answer(False, f'Get "{urls[-1]}": {problem}')

    async def _follow(self, urls: list[str]) -> Answer:
        """`urls` are all so far, the last of which is to be requested; redirects are added."""
        while True:
            status, location, body = await self._request(urls[-1])
            if not 200 <= status < 400:
                return Answer(False, f"HTTP probe failed with statuscode: {status}")
            if status < 300:
                return Answer(True, body)
            text = f"Probe terminated redirects, Response body: {body}"
            if status not in _REDIRECTS or not location:
                return Answer(True, text, warning=True)
            target = quote(urljoin(urls[-1], location), safe=_URL)
            if urlsplit(target).hostname != urlsplit(urls[0]).hostname:
                return Answer(True, text, warning=True)
            urls.append(target)
            if len(urls) > _MOST_REDIRECTS:
                raise ValueError(f"stopped after {_MOST_REDIRECTS} redirects")

    async def _request(self, url: str) -> _Response:
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
        context = _unverified() if parts.scheme == "https" else None
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


async def _read(reader: asyncio.StreamReader) -> _Response:
    """No more than is needed: a body may have no end. Only redirects need more than a status."""
    first_line = (await reader.readline()).decode("latin-1")
    if not first_line:
        raise ValueError("EOF")
    words = first_line.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise ValueError(f'malformed HTTP response "{first_line.strip()[:100]}"')
    status = int(words[1])
    if status < 300 or status >= 400:
        return _Response(status)
    headers: dict[str, str] = {}
    while (line := (await reader.readline()).strip()) and len(headers) < _MOST_HEADERS:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    length = headers.get("content-length", "")
    body = await reader.read(min(_BODY, int(length)) if length.isdigit() else _BODY)
    return _Response(status, headers.get("location", ""), body.decode(errors="replace"))


def _check(headers: dict[str, str]) -> None:
    """A line break in a header would smuggle in a header that was not validated."""
    for name, value in headers.items():
        text = name + value.replace("\t", "")
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise ValueError(f'net/http: invalid header field value for "{name}"')


def _unverified() -> ssl.SSLContext:
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
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno is None or error.errno < 0:  # the name could not be resolved
        return f"dial tcp: lookup {host}: no such host"
    return f"dial tcp {address}: connect: {os.strerror(error.errno).lower()}"
