"""The distribution API over HTTP (OCI distribution specification 1.1)."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from tiphys.addons.registry import manifests, naming
from tiphys.addons.registry.access import Access, Door
from tiphys.addons.registry.faults import Fault
from tiphys.addons.registry.naming import Target
from tiphys.addons.registry.storage import Storage, blob_unknown
from tiphys.addons.registry.uploads import Upload, Uploads
from tiphys.client.front import Front, Site, room_for_connections

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 1000  # at each door
_PATIENCE = 60.0  # seconds between two pieces of a body
_LONGEST = 3600.0  # seconds of a request
_MOST_ROWS = 1000  # of the catalogue in one answer
_JSON = "application/json"
_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
_READS = ("GET", "HEAD")


class _Call(NamedTuple):
    request: web.BaseRequest
    target: Target


class RegistryServer:
    """Serves one storage at several doors."""

    def __init__(self, storage: Storage, access: Access) -> None:
        self._storage = storage
        self._access = access
        self.uploads = Uploads(storage)
        self._runners: list[web.ServerRunner] = []

    async def open(
        self, door: Door, address: str, port: int, tls: ssl.SSLContext | None = None
    ) -> int:
        """Listens; returns the port, which the system chooses for 0. Raises OSError."""
        front = Front(
            partial(self._handle, door),
            most=room_for_connections(_MOST_CONNECTIONS),
            auto_decompress=False,
        )
        runner = web.ServerRunner(front, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._runners.append(runner)
        site: web.BaseSite
        if tls is not None:
            site = Site(runner, address, port, ssl_context=tls)
        else:
            site = web.TCPSite(runner, address, port)
        await site.start()
        return int(site.port)

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    # --- one request ---

    async def _handle(self, door: Door, request: web.BaseRequest) -> web.StreamResponse:
        try:
            async with asyncio.timeout(_LONGEST):
                return await self._answer(door, request)
        except Fault as fault:
            return _failure(fault)
        except TimeoutError:
            return _failure(Fault(408, "UNSUPPORTED", "the request took too long"))
        except ConnectionError:  # the client has disconnected
            gone = web.Response(status=499)
            gone.force_close()
            return gone
        except OSError as error:
            log.warning("%s %s: %s", request.method, request.path, error)
            return _failure(Fault(500, "UNKNOWN", "the registry's disk has a fault"))

    async def _answer(self, door: Door, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token" and request.method == "GET" and door.writers == "password":
            return _json(self._access.token(request, door))
        target = naming.target_of(request.path)
        if target.kind == "api":
            self._access.check_api(request, door)
        elif request.method not in _READS or target.kind == "uploads":
            self._access.check_write(request, door, target.repository)
        elif (
            request.query.get("ns") == "docker.io"
        ):  # containerd names the registry that it mirrors
            target = await self._for_docker(target)
        handlers = self._handlers(target)
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = {"Allow": ", ".join(handlers)}
            raise Fault(405, "UNSUPPORTED", "the operation is unsupported", None, allowed)
        return await handler(_Call(request, target))

    async def _for_docker(self, target: Target) -> Target:
        """Docker Hub's ``library/redis`` is what docker pushes here as ``redis``, if no one has
        pushed it by its whole name."""
        short = target.repository.removeprefix("library/")
        if short == target.repository or "/" in short:
            return target
        manifests = await asyncio.to_thread(self._storage.manifests_of, target.repository)
        return target if manifests else target._replace(repository=short)

    def _handlers(
        self, target: Target
    ) -> dict[str, Callable[[_Call], Awaitable[web.StreamResponse]]]:
        match target.kind:
            case "api":
                return {"GET": self._api}
            case "catalog":
                return {"GET": self._catalog}
            case "tags":
                return {"GET": self._tags}
            case "referrers":
                return {"GET": self._referrers}
            case "blobs":
                return {"GET": self._get_blob, "DELETE": self._delete_blob}
            case "manifests":
                return {
                    "GET": self._get_manifest,
                    "PUT": self._put_manifest,
                    "DELETE": self._delete_manifest,
                }
        if not target.reference:
            return {"POST": self._begin_upload}
        return {
            "GET": self._upload_state,
            "PATCH": self._append,
            "PUT": self._finish_upload,
            "DELETE": self._cancel_upload,
        }

    async def _api(self, call: _Call) -> web.StreamResponse:
        return _json({})

    # --- blobs ---

    async def _get_blob(self, call: _Call) -> web.StreamResponse:
        hexdigest = naming.digest(call.target.reference)
        storage = self._storage
        repository = call.target.repository
        if not await asyncio.to_thread(storage.has, repository, hexdigest):
            raise blob_unknown(hexdigest)
        headers = {**_VERSION, "Content-Type": "application/octet-stream"}
        headers["Docker-Content-Digest"] = call.target.reference
        return web.FileResponse(storage.blob(hexdigest), chunk_size=1 << 18, headers=headers)

    async def _delete_blob(self, call: _Call) -> web.StreamResponse:
        hexdigest = naming.digest(call.target.reference)
        await asyncio.to_thread(self._storage.unlink_blob, call.target.repository, hexdigest)
        return web.Response(status=202, headers=_VERSION)

    # --- uploads ---

    async def _begin_upload(self, call: _Call) -> web.StreamResponse:
        request = call.request
        repository = call.target.repository
        mounted = request.query.get("mount", "")
        if mounted and await self._mounted(call, naming.digest(mounted)):
            return _created(repository, "blobs", mounted)
        if "digest" not in request.query:
            return _uploading(202, self.uploads.begin(repository))
        hexdigest = naming.digest(request.query["digest"])
        upload = self.uploads.begin(repository)
        try:
            return await self._monolithic_upload(call, upload, hexdigest)
        finally:
            self.uploads.forget(upload)  # no client knows its name

    async def _mounted(self, call: _Call, hexdigest: str) -> bool:
        source = call.request.query.get("from", "")
        if not source:
            return False
        source = naming.repository(source)
        repository = call.target.repository
        return await asyncio.to_thread(self._storage.mount, repository, hexdigest, source)

    async def _upload_state(self, call: _Call) -> web.StreamResponse:
        return _uploading(204, self._upload(call))

    async def _append(self, call: _Call) -> web.StreamResponse:
        upload = self._upload(call)
        _check_range(call.request, upload)
        await self.uploads.receive(upload, _pieces(call.request))
        return _uploading(202, upload)

    async def _finish_upload(self, call: _Call) -> web.StreamResponse:
        upload = self._upload(call)
        hexdigest = naming.digest(call.request.query.get("digest", ""))
        _check_range(call.request, upload)
        return await self._monolithic_upload(call, upload, hexdigest)

    async def _monolithic_upload(
        self, call: _Call, upload: Upload, hexdigest: str
    ) -> web.StreamResponse:
        """The last piece has come with the request, or the only one."""
        await self.uploads.receive(upload, _pieces(call.request))
        await self.uploads.finish(upload, hexdigest)
        return _created(call.target.repository, "blobs", f"sha256:{hexdigest}")

    async def _cancel_upload(self, call: _Call) -> web.StreamResponse:
        self.uploads.forget(self._upload(call))
        return web.Response(status=204, headers=_VERSION)

    def _upload(self, call: _Call) -> Upload:
        return self.uploads.find(call.target.repository, call.target.reference)

    # --- manifests ---

    async def _get_manifest(self, call: _Call) -> web.StreamResponse:
        repository = call.target.repository
        hexdigest = await self._digest_of(call.target)
        stored = await asyncio.to_thread(self._storage.manifest, repository, hexdigest)
        headers = {
            **_VERSION,
            "Content-Type": stored.media_type,
            "Docker-Content-Digest": f"sha256:{hexdigest}",
            "ETag": f'"sha256:{hexdigest}"',
        }
        return web.Response(body=stored.data, headers=headers)

    async def _digest_of(self, target: Target) -> str:
        if naming.is_digest(target.reference):
            return naming.digest(target.reference)
        tag = naming.tag(target.reference)
        return await asyncio.to_thread(self._storage.tagged, target.repository, tag)

    async def _put_manifest(self, call: _Call) -> web.StreamResponse:
        target = call.target
        request = call.request
        is_tag = not naming.is_digest(target.reference)
        tag = naming.tag(target.reference) if is_tag else ""
        claimed_digest = "" if is_tag else naming.digest(target.reference)
        data = await _short_body(request)
        media_type = request.headers.get("Content-Type", "")
        digest, subject = await asyncio.to_thread(
            self._keep_manifest, target.repository, data, media_type, tag, claimed_digest
        )
        response = _created(target.repository, "manifests", f"sha256:{digest}")
        if subject:
            response.headers["OCI-Subject"] = f"sha256:{subject}"
        return response

    def _keep_manifest(
        self, repository: str, data: bytes, media_type: str, tag: str, claimed_digest: str
    ) -> tuple[str, str]:
        """(its digest, that of its subject). Blocks."""
        manifest = manifests.read(data, media_type)
        digest = self._storage.put_manifest(repository, data, manifest, tag, claimed_digest)
        return digest, manifest.subject

    async def _delete_manifest(self, call: _Call) -> web.StreamResponse:
        repository = call.target.repository
        reference = call.target.reference
        if naming.is_digest(reference):
            hexdigest = naming.digest(reference)
            await asyncio.to_thread(self._storage.delete_manifest, repository, hexdigest)
        else:
            tag = naming.tag(reference)
            await asyncio.to_thread(self._storage.delete_tag, repository, tag)
        return web.Response(status=202, headers=_VERSION)

    # --- lists ---

    async def _catalog(self, call: _Call) -> web.StreamResponse:
        names = await asyncio.to_thread(self._storage.catalog)
        return _page(call.request, "repositories", names, {}, _MOST_ROWS)

    async def _tags(self, call: _Call) -> web.StreamResponse:
        repository = call.target.repository
        tags = await asyncio.to_thread(self._storage.tags, repository)
        return _page(call.request, "tags", tags, {"name": repository}, len(tags))

    async def _referrers(self, call: _Call) -> web.StreamResponse:
        subject = naming.digest(call.target.reference)
        repository = call.target.repository
        rows = await asyncio.to_thread(self._storage.referrers, repository, subject)
        headers = {"Content-Type": manifests.INDEX}
        wanted = call.request.query.get("artifactType", "")
        if wanted:
            rows = [row for row in rows if row.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        index = {"schemaVersion": 2, "mediaType": manifests.INDEX, "manifests": rows}
        return _json(index, headers)


# --- bodies ---


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Of a body, each within a minute. Raises Fault."""
    try:
        while True:
            async with asyncio.timeout(_PATIENCE):
                data = await request.content.readany()
            if not data:
                return
            yield data
    except TimeoutError:
        raise Fault(408, "BLOB_UPLOAD_INVALID", "the body does not come") from None


async def _short_body(request: web.BaseRequest) -> bytes:
    """Raises Fault for one that is longer than a manifest may be."""
    body = bytearray()
    async for data in _pieces(request):
        body += data
        if len(body) > manifests.MOST:
            raise Fault(413, "SIZE_INVALID", f"a manifest has at most {manifests.MOST} bytes")
    return bytes(body)


def _check_range(request: web.BaseRequest, upload: Upload) -> None:
    """Raises Fault for a piece that does not start where the one before has ended."""
    content_range = request.headers.get("Content-Range", "")
    if not content_range:
        return
    first, dash, last = content_range.removeprefix("bytes ").partition("/")[0].partition("-")
    if not dash or not (first.isdecimal() and last.isdecimal()) or len(content_range) > 64:
        raise Fault(400, "BLOB_UPLOAD_INVALID", "Content-Range is not FIRST-LAST")
    headers = {"Location": upload.path, "Range": upload.range}
    if int(first) != upload.offset or int(last) < int(first):
        raise Fault(416, "BLOB_UPLOAD_INVALID", "pieces come in order", None, headers)
    length = request.content_length
    if length is not None and length != int(last) - int(first) + 1:
        raise Fault(400, "SIZE_INVALID", "Content-Range and Content-Length differ")


# --- answers ---


def _json(value: object, headers: dict[str, str] | None = None, status: int = 200) -> web.Response:
    merged = {**_VERSION, "Content-Type": _JSON, **(headers or {})}
    return web.Response(status=status, body=msgspec.json.encode(value), headers=merged)


def _failure(fault: Fault) -> web.Response:
    return _json(fault.body, dict(fault.headers), fault.status)


def _created(repository: str, kind: str, digest: str) -> web.Response:
    headers = {"Location": f"/v2/{repository}/{kind}/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers={**_VERSION, **headers})


def _uploading(status: int, upload: Upload) -> web.Response:
    headers = {
        "Location": upload.path,
        "Range": upload.range,
        "Docker-Upload-UUID": upload.id,
    }
    return web.Response(status=status, headers={**_VERSION, **headers})


def _page(
    request: web.BaseRequest,
    key: str,
    names: Sequence[str],
    first: dict[str, str],
    usual: int,
) -> web.Response:
    """At most `n` of sorted names that come after `last`, and where the next ones are."""
    limit_text = request.query.get("n", str(usual))
    if not limit_text.isdecimal() or len(limit_text) > 9:
        raise Fault(400, "PAGINATION_NUMBER_INVALID", "n is not a number of rows")
    count = int(limit_text)
    last = request.query.get("last", "")
    rest = [name for name in names if name > last] if last else list(names)
    shown = rest[:count]
    headers = {}
    if shown and len(rest) > count:
        query = urlencode({"n": count, "last": shown[-1]})
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return _json({**first, key: shown}, headers)
