"""A registry in the test's own process, and a client that speaks HTTP and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tiphys.addons.registry.access import Access, Door
from tiphys.addons.registry.serving import RegistryServer
from tiphys.addons.registry.storage import Storage

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ANYBODY = Door("anybody")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data: bytes, kind: str = "application/vnd.oci.image.layer.v1.tar") -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYER = b"what a layer holds " * 1000


def manifest(*layers: bytes, **more: Any) -> bytes:
    """An image of the one configuration and some layers."""
    config = descriptor(CONFIG, "application/vnd.oci.image.config.v1+json")
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config}
    return json.dumps(body | {"layers": [descriptor(one) for one in layers]} | more).encode()


class Answer:
    """What the registry has said."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self) -> str:
        """Of its error."""
        return str(json.loads(self.body)["errors"][0]["code"])

    @property
    def location(self) -> str:
        return str(self.headers["Location"])


class Raw:
    """The client. `ask` follows nothing and remembers nothing."""

    def __init__(self, session: aiohttp.ClientSession, url: str, storage: Storage) -> None:
        self._session, self.url, self.storage = session, url, storage

    async def ask(self, method: str, path: str, data: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(self.url + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=named) as got:
            return Answer(got.status, got.headers, await got.read())

    async def push_blob(self, repository: str, data: bytes) -> Answer:
        path = f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}"
        return await self.ask("POST", path, data)

    async def push(self, repository: str, tag: str, *layers: bytes) -> str:
        """An image; returns its digest."""
        for blob in (CONFIG, *layers):
            assert (await self.push_blob(repository, blob)).status == 201
        body = manifest(*layers)
        put = await self.ask(
            "PUT", f"/v2/{repository}/manifests/{tag}", body, Content_Type=MANIFEST
        )
        assert put.status == 201, put.body
        return digest_of(body)


@asynccontextmanager
async def registry(
    folder: Path, door: Door = ANYBODY, password: str = "secret", capacity: int = 1 << 30
) -> AsyncIterator[Raw]:
    storage = Storage(folder, capacity)
    storage.open()
    server = RegistryServer(storage, Access(password))
    port = await server.open(door, "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        try:
            yield Raw(session, f"http://127.0.0.1:{port}", storage)
        finally:
            await server.close()
