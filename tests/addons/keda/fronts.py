"""What stands before a server that has no TLS or no login of its own: connections are decrypted,
and whoever speaks Kafka's protocol logs in (SASL), before what they say is passed on.

TLS is OpenSSL's. The login is ours, for lack of a broker that has one: it follows Kafka's protocol
guide and RFC 5802.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import NamedTuple

from tests.addons.keda.processes import HOST
from tiphys.cluster.certificates import Authority

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Login = Callable[[Streams, Streams], Awaitable[bool]]
"""Speaks with a client that has just connected, before what is behind; whether it may go on."""

_HANDSHAKE, _VERSIONS, _AUTHENTICATE = 17, 18, 36
_UNSUPPORTED_MECHANISM, _LOGIN_FAILED = 33, 58
_ITERATIONS = 4096


class Pair(NamedTuple):
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path

    @property
    def texts(self) -> tuple[str, str]:
        return self.certificate.read_text(), self.key.read_text()


def pair_of(authority: Authority, name: str) -> Pair:
    """Good for a server at this machine's address, and for a client."""
    return Pair(*authority.ensure(name, name, (), (HOST,), server=True))


def tls(authority: Authority, pair: Pair) -> ssl.SSLContext:
    """Of a server whose clients must have certificates, too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.path))
    context.load_cert_chain(*pair)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])  # which gRPC insists on
    return context


@contextlib.asynccontextmanager
async def front(
    port: int, behind: int, context: ssl.SSLContext | None = None, login: Login | None = None
) -> AsyncIterator[None]:
    """Listens on one port of this machine's address, and passes on to another."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = reader, writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            server = await asyncio.open_connection(HOST, behind)
            with contextlib.closing(server[1]):
                if login is None or await login(client, server):
                    await asyncio.gather(_pass_on(reader, server[1]), _pass_on(server[0], writer))

    listening = await asyncio.start_server(serve, HOST, port, ssl=context)
    async with listening:
        yield


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


# --- the login ---


class Request(NamedTuple):
    api: int
    version: int
    correlation: int
    body: bytes
    frame: bytes


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(*struct.unpack(">i", size))


async def _request(reader: asyncio.StreamReader) -> Request:
    frame = await _frame(reader)
    api, version, correlation, name = struct.unpack_from(">hhih", frame, 4)
    return Request(api, version, correlation, frame[14 + max(name, 0) :], frame)


def _text(words: str) -> bytes:
    return struct.pack(">h", len(words)) + words.encode()


def kafka_login(mechanism: str, user: str, password: str) -> Login:
    """A broker that knows one user, by one mechanism."""

    async def login(client: Streams, server: Streams) -> bool:
        reader, writer = client
        proof = _plain(user, password) if mechanism == "PLAIN" else _scram(mechanism, password)
        next(proof)
        while True:
            asked = await _request(reader)
            if asked.api == _VERSIONS:
                server[1].write(asked.frame)
                writer.write(await _frame(server[0]))
                continue
            if asked.api == _HANDSHAKE:
                problem = 0 if asked.body[2:].decode() == mechanism else _UNSUPPORTED_MECHANISM
                _answer(writer, asked, struct.pack(">hi", problem, 1) + _text(mechanism))
                continue
            assert asked.api == _AUTHENTICATE
            said = proof.send(asked.body[4:])
            _answer(writer, asked, _authenticated(asked, said))
            if said is None:
                return False
            if said.is_last:
                return True

    return login


def _answer(writer: asyncio.StreamWriter, asked: Request, body: bytes) -> None:
    writer.write(struct.pack(">ii", 4 + len(body), asked.correlation) + body)


class Said(NamedTuple):
    """What a broker says in a login; with the last of it the client is in."""

    message: bytes
    is_last: bool


Proof = Generator[Said | None, bytes, None]
"""Is sent what the client says. None: it is not let in."""


def _authenticated(asked: Request, said: Said | None) -> bytes:
    if said is None:
        found = struct.pack(">h", _LOGIN_FAILED) + _text("Authentication failed")
        message = b""
    else:
        found = struct.pack(">hh", 0, -1)
        message = said.message
    lifetime = struct.pack(">q", 0) if asked.version else b""
    return found + struct.pack(">i", len(message)) + message + lifetime


def _plain(user: str, password: str) -> Proof:
    """RFC 4616."""
    said = yield Said(b"", False)
    is_right = said.split(b"\0")[1:] == [user.encode(), password.encode()]
    yield Said(b"", True) if is_right else None


def _scram(mechanism: str, password: str) -> Proof:
    """RFC 5802, as its section 3 names the parts."""
    name = mechanism.removeprefix("SCRAM-").replace("-", "").lower()
    first = (yield Said(b"", False)).decode().removeprefix("n,,")
    nonce = first.rpartition("r=")[2] + secrets.token_hex(8)
    salt = secrets.token_bytes(16)
    shown = f"r={nonce},s={base64.b64encode(salt).decode()},i={_ITERATIONS}"
    last, _, proof = (yield Said(shown.encode(), False)).decode().rpartition(",p=")

    def mac(key: bytes, text: str) -> bytes:
        return hmac.digest(key, text.encode(), name)

    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, _ITERATIONS)
    client_key = mac(salted, "Client Key")
    auth = f"{first},{shown},{last}"
    signature = mac(hashlib.new(name, client_key).digest(), auth)
    expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    if not hmac.compare_digest(expected, base64.b64decode(proof)):
        yield None
    verifier = base64.b64encode(mac(mac(salted, "Server Key"), auth))
    yield Said(b"v=" + verifier, True)
