"""A KMS plugin in this process, and what configurations say of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc.aio

from tests.store.kmsplugin import Keys, server_of


class Vault(Keys):
    """Listens at a socket below `root` while it is started. Its newest key encrypts."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "keys"
        self.folder.mkdir(parents=True)
        super().__init__(self.folder)
        self.socket = root / "kms.sock"
        self.asked = 0
        """How often it was asked how it is."""
        self._server: grpc.aio.Server | None = None
        self.add("key-1")

    def add(self, id: str) -> None:
        (self.folder / id).write_bytes(os.urandom(32))

    async def status(self, request: bytes, context: Any) -> bytes:
        self.asked += 1
        return await super().status(request, context)

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    def provider(self, name: str = "vault", timeout: str = "10s") -> dict[str, Any]:
        fields = {"apiVersion": "v2", "name": name, "endpoint": self.endpoint, "timeout": timeout}
        return {"kms": fields}

    async def start(self) -> None:
        self._server = server_of(self, str(self.socket))
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
        self.socket.unlink(missing_ok=True)
