"""The protocol of Redis (RESP 2) as a client of a few commands speaks it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from tiphys.addons.keda.asking import tls_context
from tiphys.addons.keda.dialing import dial, host_port
from tiphys.addons.keda.scaler import Config, ScalerError

_LONGEST = 1 << 20  # bytes of a string
_MOST = 10_000  # members of an array
_DEEPEST = 8


class RedisError(Exception):
    """The server is not there, or it refuses; the text is its own where it has one."""


@dataclass(frozen=True)
class Server:
    """`pair` is a certificate, its key and the key's password."""

    address: str
    username: str = ""
    password: str = ""
    database: int = 0
    has_tls: bool = False
    ca: str = ""
    pair: tuple[str, str, str] = ("", "", "")
    unsafe: bool = False

    def context(self) -> ssl.SSLContext | None:
        if not self.has_tls:
            return None
        certificate, key, password = self.pair
        return tls_context(self.ca, certificate, key, password=password, unsafe=self.unsafe)


class Redis:
    """One connection. Commands go one after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout = timeout
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, server: Server, config: Config) -> Redis:
        """A connection that is logged in. Raises RedisError."""
        try:
            host, port = host_port(server.address)
            streams = await dial(config, host, port, server.context())
        except ScalerError as error:
            raise RedisError(str(error)) from None
        connection = cls(*streams, config.surroundings.timeout)
        try:
            if server.password:
                name = (server.username,) if server.username else ()
                await connection.ask("AUTH", *name, server.password)
            if server.database:
                await connection.ask("SELECT", server.database)
        except RedisError:
            connection.close()
            raise
        return connection

    async def ask(self, *words: str | int) -> object:
        """What a command answers: str, int, None, or a list of these. Raises RedisError."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout):
                    self._writer.write(_command(words))
                    await self._writer.drain()
                    return await self._answer(0)
            except TimeoutError:
                raise RedisError("i/o timeout") from None
            except (OSError, asyncio.IncompleteReadError) as error:
                raise RedisError(f"connection lost: {error}") from None
            except (ValueError, asyncio.LimitOverrunError, RecursionError) as error:
                raise RedisError(f"no answer of a Redis server: {error}") from None

    async def _answer(self, depth: int) -> object:
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        kind = line[:1]
        text = line[1:].decode(errors="replace")
        match kind:
            case b"+":
                return text
            case b"-":
                raise RedisError(text)
            case b":":
                return int(text)
            case b"$":
                return await self._string(int(text))
            case b"*":
                size = int(text)
                if size > _MOST or depth > _DEEPEST:
                    raise ValueError("too many members")
                return [await self._answer(depth + 1) for _ in range(size)]
        raise ValueError(text[:40])

    async def _string(self, size: int) -> str | None:
        if size < 0:
            return None
        if size > _LONGEST:
            raise ValueError("a string is too long")
        return (await self._reader.readexactly(size + 2))[:-2].decode(errors="replace")

    def close(self) -> None:
        self._writer.close()


def _command(words: tuple[str | int, ...]) -> bytes:
    pieces = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = str(word).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)
