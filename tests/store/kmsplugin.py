"""A KMS plugin for tests: ``python -m tests.store.kmsplugin SOCKET KEYS``. KEYS is a folder of
files with keys, each named after its id; the last by name encrypts, all of them decrypt. With a
file `healthz` there, its text is how the plugin says that it is.

It stays small on purpose, and speaks protobuf by itself: nothing of what it tests is in it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def fields(message: bytes) -> dict[int, bytes]:
    """The fields of a message, all of which are bytes here; of those that come often, the last."""
    return dict(_fields(message))


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        length, position = _varint(message, position)
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def message(**values: bytes | str) -> bytes:
    """`f1=...`: field 1."""
    written = b""
    for name, value in values.items():
        data = value.encode() if isinstance(value, str) else value
        assert len(data) < 1 << 14
        low, high = len(data) & 0x7F, len(data) >> 7
        length = bytes([low | 0x80, high]) if high else bytes([low])
        written += bytes([int(name[1:]) << 3 | 2]) + length + data
    return written


class Keys:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _aead(self, id: str) -> AESGCM:
        return AESGCM((self._folder / id).read_bytes())

    async def status(self, request: bytes, context: Any) -> bytes:
        health = self._folder / "healthz"
        said = health.read_text() if health.exists() else "ok"
        return message(f1="v2", f2=said, f3=self._newest())

    def _newest(self) -> str:
        return max(path.name for path in self._folder.iterdir() if path.name != "healthz")

    async def encrypt(self, request: bytes, context: Any) -> bytes:
        id, nonce = self._newest(), os.urandom(12)
        plain = fields(request)[1]
        sealed = nonce + self._aead(id).encrypt(nonce, plain, None)
        note = message(f1="kms.example.com", f2=b"note")
        return message(f1=sealed, f2=id, f3=note)

    async def decrypt(self, request: bytes, context: Any) -> bytes:
        asked = fields(request)
        if b"kms.example.com" not in asked.get(4, b""):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the annotation is missing")
        try:
            aead = self._aead(asked[3].decode())
        except FileNotFoundError:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no key {asked[3].decode()}")
        return message(f1=aead.decrypt(asked[1][:12], asked[1][12:], None))


def server_of(keys: Keys, place: str) -> grpc.aio.Server:
    """A server at a Unix socket that is to be started."""
    server = grpc.aio.server()
    handlers = {
        "Status": grpc.unary_unary_rpc_method_handler(keys.status),
        "Encrypt": grpc.unary_unary_rpc_method_handler(keys.encrypt),
        "Decrypt": grpc.unary_unary_rpc_method_handler(keys.decrypt),
    }
    generic = grpc.method_handlers_generic_handler("v2.KeyManagementService", handlers)
    server.add_generic_rpc_handlers((generic,))
    server.add_insecure_port(f"unix:{place}")
    return server


async def main(place: str, folder: str) -> None:
    server = server_of(Keys(Path(folder)), place)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
