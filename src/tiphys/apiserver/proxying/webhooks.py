"""Calls to webhooks, for admission and for conversion: where they are, what they may take, what
went wrong."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from tiphys.api import core_v1, discovery_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.client.answers import body_of
from tiphys.machinery.addresses import authority, is_global_unicast
from tiphys.store.cache import Filter, ResourceCache
from tiphys.store.store import Store

_SERVICES = BY_PATH["", "v1", "services"]
_SLICES = BY_PATH["discovery.k8s.io", "v1", "endpointslices"]
_LIMIT = 16 << 20  # bytes of an answer
_MOST_CONTEXTS = 100  # of TLS, one for each bundle of certificates, that are kept


class WebhookError(Exception):
    """The webhook could not be reached or did not answer as it should; the text is for the user."""


class WebhookCaller:
    """Posts JSON to a webhook's `clientConfig` (a service or a URL, with its authority)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[bytes, ssl.SSLContext] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                headers={"User-Agent": "kube-apiserver-admission"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _context(self, bundle: bytes) -> ssl.SSLContext:
        """TLS that trusts the certificates of a bundle, or the system's when there is none."""
        context = self._contexts.get(bundle)
        if context is None:
            authorities = _pem(bundle).decode() if bundle else None
            context = ssl.create_default_context(cadata=authorities)
            if len(self._contexts) > _MOST_CONTEXTS:
                self._contexts.clear()
            self._contexts[bundle] = context
        return context

    async def call(self, config: Any, review: Any, seconds: float) -> dict[str, Any]:
        """The webhook's answer. `config` has `url` or `service`, and `ca_bundle`. Raises
        WebhookError."""
        url, server_name, shown = self.locate(config)
        query = {"timeout": f"{seconds:g}s"}
        shown = f"{shown}?timeout={seconds:g}s"
        try:
            async with (
                asyncio.timeout(seconds),
                self._http().post(
                    url,
                    params=query,
                    data=msgspec.json.encode(review),
                    headers={"Content-Type": "application/json", "Accept": "application/json"},
                    ssl=self._context(config.ca_bundle),
                    server_hostname=server_name or None,
                    allow_redirects=False,  # a webhook does not send this server elsewhere
                ) as answer,
            ):
                body = await body_of(answer, _LIMIT)
                if answer.status != 200:
                    raise WebhookError(
                        f"the server responded with status {answer.status}: "
                        f"{body[:200].decode(errors='replace')}"
                    )
                decoded = msgspec.json.decode(body)
        except TimeoutError:
            raise WebhookError(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ValueError, msgspec.DecodeError) as error:
            raise WebhookError(f'Post "{shown}": {error}') from None
        if not isinstance(decoded, dict):
            raise WebhookError(f'Post "{shown}": the answer is no object')
        return decoded

    def locate(self, config: Any) -> tuple[str, str, str]:
        """(URL to post to, name its certificate must carry when that is not the URL's host, URL as
        it is shown to users)."""
        if config.url:
            return config.url, "", config.url
        service = config.service
        path = (service.path or "").lstrip("/")
        host, port = self.endpoint(service.namespace, service.name, service.port or 443)
        name = f"{service.name}.{service.namespace}.svc"
        return (
            f"https://{authority(host, port)}/{path}",
            name,
            f"https://{name}:{service.port or 443}/{path}",
        )

    def endpoint(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        """(address, port) of a ready pod behind a service: no detour over its cluster IP. Raises
        WebhookError."""
        entry = self._store.cache(_SERVICES.prefix).get(_SERVICES.key(namespace, name))
        if entry is None:
            raise WebhookError(f'service "{name}" not found')
        service = decode(entry.data, core_v1.Service)
        if service.spec.type == "ExternalName":
            # Names are not resolved: they could lead anywhere.
            raise WebhookError(f'unsupported service type "{service.spec.type}"')
        wanted = next((p for p in service.spec.ports if p.port == port), None)
        if wanted is None:
            raise WebhookError(f'no service port {port} found for service "{name}"')
        address = endpoint_of(self._store.cache(_SLICES.prefix), namespace, name, wanted.name)
        if address is None:
            raise WebhookError(f'no endpoints available for service "{name}"')
        return address


def endpoint_of(
    slices: ResourceCache,
    namespace: str,
    service: str,
    port: str,
    fits: Callable[[discovery_v1.Endpoint], bool] = lambda endpoint: True,
) -> tuple[str, int] | None:
    """The address and port of a ready endpoint behind a service's port, by the port's name.
    Addresses that lead back to this machine are refused, whoever wrote them, and so are names."""
    for row in slices.select(Filter(f"{_SLICES.prefix}{namespace}/")):
        slice_ = decode(row.data, discovery_v1.EndpointSlice)
        if slice_.metadata.labels.get("kubernetes.io/service-name") != service:
            continue
        for candidate in slice_.ports:
            if (candidate.name or "") == port and candidate.port:
                for endpoint in slice_.endpoints:
                    address = endpoint.addresses[0] if endpoint.addresses else ""
                    if (
                        endpoint.conditions.ready is not False
                        and is_global_unicast(address)
                        and fits(endpoint)
                    ):
                        return address, candidate.port
    return None


def _pem(bundle: bytes) -> bytes:
    return bundle if b"-----BEGIN" in bundle else base64.b64decode(bundle)
