"""Other API servers behind this one: APIServices, whether they answer, and requests passed on to
them.

A request for a group and version that an APIService claims goes, once it is authenticated and
authorized here, to the service behind it, with the user's name in headers that the other server
believes because of our client certificate.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import ssl
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import yarl
from aiohttp import web

from tiphys.api.apiregistration_v1 import APIService, APIServiceCondition, APIServiceSpec
from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import DeleteOptions, ObjectMeta
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.proxying.forwarding import Backend, new_session, raw_target, relay, tunnel
from tiphys.apiserver.proxying.remotes import (
    FrontProxy,
    Remote,
    client_context,
    resources,
    swagger_of,
)
from tiphys.apiserver.proxying.webhooks import WebhookCaller, WebhookError
from tiphys.apiserver.registry.changes import Mutation
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.served import CUSTOM_PRIORITY, PRIORITIES
from tiphys.apiserver.registry.writes import Write
from tiphys.client import certfiles
from tiphys.client.answers import TooLong, body_of
from tiphys.client.upgrade import is_upgrade
from tiphys.machinery import conditions, errors
from tiphys.machinery.addresses import authority
from tiphys.machinery.errors import StatusError, is_already_exists, is_conflict, is_not_found
from tiphys.store.cache import Filter

log = logging.getLogger(__name__)
_SERVICES = resource_of(APIService)
_EVERY = 30.0  # seconds between checks of a server that answers
_AGAIN = 1.0  # seconds between checks of one that does not
# What a header's name may hold beside letters and digits; the rest is percent-encoded.
_HEADER_SAFE = "!#$&'*+-.^_`|~"
AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
_LONGEST_RESOURCES = 1 << 20  # bytes of another server's resource list
_MOST_CONTEXTS = 100
_LONGEST_OPENAPI = 16 << 20
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Aggregator:
    """`remotes` are those that have been checked; `changed` is called when what they serve has
    changed."""

    def __init__(self, registry: Registry, caller: WebhookCaller, proxy: FrontProxy | None) -> None:
        self._registry = registry
        self._caller = caller
        self._proxy = proxy
        self._cache = registry.cache(_SERVICES)
        self._session: aiohttp.ClientSession | None = None
        self._wake = asyncio.Event()
        self._due: dict[str, float] = {}
        self._contexts: dict[tuple[bool, bytes, int], ssl.SSLContext] = {}
        self.remotes: dict[tuple[str, str], Remote] = {}
        self.generation = 0
        self._leads = True

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = new_session()
        return self._session

    # --- requests ---

    def find(self, group: str, version: str) -> Remote | None:
        return self.remotes.get((group, version))

    async def pass_on(self, call: Call, remote: Remote) -> web.StreamResponse:
        """The other server's answer."""
        if not remote.available:
            raise errors.unavailable("service unavailable")
        try:
            url, name, context = self._backend_of(remote.service)
        except WebhookError:
            raise errors.unavailable("service unavailable") from None
        target = yarl.URL(f"{url}{raw_target(call.http._message.path)}", encoded=True)
        if is_upgrade(call.http.headers):
            assert target.host is not None and target.port is not None
            backend = Backend(target.host, target.port, context, name)
            return await tunnel(call, backend, target.raw_path_qs, self._identity(call))
        return await relay(self._http(), call, target, self._identity(call), context, name)

    @staticmethod
    def _identity(call: Call) -> list[tuple[str, str]]:
        user = call.user
        rows = [("X-Remote-User", user.name), *(("X-Remote-Group", group) for group in user.groups)]
        if user.uid:
            rows.append(("X-Remote-Uid", user.uid))
        for key, values in user.extra.items():
            name = f"X-Remote-Extra-{quote(key, safe=_HEADER_SAFE)}"
            rows += [(name, value) for value in values]
        return rows

    def _backend_of(self, service: APIService) -> tuple[str, str, ssl.SSLContext]:
        """(base URL, name in the certificate, TLS). Raises WebhookError."""
        target = service.spec.service
        assert target is not None
        host, port = self._caller.endpoint(target.namespace, target.name, target.port or 443)
        context = self._tls_for(service.spec)
        return f"https://{authority(host, port)}", f"{target.name}.{target.namespace}.svc", context

    def _tls_for(self, spec: APIServiceSpec) -> ssl.SSLContext:
        """Made once: reading the authorities of the system takes 15 to 50 ms of the event loop, and
        a context that is new for each request has no connections to use again."""
        written = self._proxy.certificate.stat().st_mtime_ns if self._proxy is not None else 0
        key = (spec.insecure_skip_tls_verify, spec.ca_bundle, written)
        context = self._contexts.get(key)
        if context is None:
            context = client_context(spec)
            if self._proxy is not None:
                certfiles.use(context, self._proxy.certificate, self._proxy.key)
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            self._contexts[key] = context
        return context

    # --- the loop ---

    async def run(self, leads: bool = True) -> None:
        """Checks every server in turn, and keeps the APIServices of what is served here.

        Of a server's processes one `leads`: the others write nothing about what they find.
        """
        self._leads = leads
        watcher = self._cache.watch(
            Filter(_SERVICES.prefix), self._registry.store.revision, self._wake.set
        )
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                for change in watcher.take():
                    self._due.pop(change[1].key, None)
                if leads:
                    await self._keep_local()
                await self._check_all(loop.time())
                soonest = min(self._due.values(), default=loop.time() + _EVERY) - loop.time()
                try:
                    await asyncio.wait_for(self._wake.wait(), max(0.05, min(soonest, 2.0)))
                except TimeoutError:
                    pass
        finally:
            self._cache.unwatch(watcher)

    async def _check_all(self, now: float) -> None:
        seen = set()
        for entry in list(self._cache):
            service = decode(entry.data, APIService)
            key = (service.spec.group, service.spec.version)
            if service.spec.service is None:
                await self._set_available(
                    service, True, "Local", "Local APIServices are always available"
                )
                continue
            seen.add(key)
            if self._due.get(entry.key, 0) > now and key in self.remotes:
                continue
            good = await self._check(service)
            self._due[entry.key] = now + (_EVERY if good else _AGAIN)
        for key in [key for key in self.remotes if key not in seen]:
            del self.remotes[key]
            self.generation += 1

    async def _check(self, service: APIService) -> bool:
        reason, message, resources = await self._state(service)
        key = (service.spec.group, service.spec.version)
        known = self.remotes.get(key)
        if not resources and known is not None:
            resources = known.resources
        remote = Remote(service, reason == "Passed", resources)
        unchanged = known is not None and known.resources == remote.resources
        if known is not None and unchanged and known.available:
            remote.swagger = known.swagger
        elif remote.available:
            remote.swagger = await self._swagger(service)
        if known is None or not unchanged or known.available != remote.available:
            self.generation += 1
        self.remotes[key] = remote
        await self._set_available(service, remote.available, reason, message)
        return remote.available

    async def _state(self, service: APIService) -> tuple[str, str, list[dict[str, Any]]]:
        target = service.spec.service
        assert target is not None
        where = f'service/{target.name} in "{target.namespace}"'
        try:
            url, name, context = self._backend_of(service)
        except WebhookError as error:
            if "not found" in str(error):
                return "ServiceNotFound", f"{where} is not present", []
            if "no endpoints" in str(error):
                return "MissingEndpoints", f"endpoints for {where} have no addresses", []
            return "ServicePortError", f"{where}: {error}", []
        except (ssl.SSLError, ValueError) as error:
            return "FailedDiscoveryCheck", f"TLS: {error}", []
        path = f"{url}/apis/{service.spec.group}/{service.spec.version}"
        try:
            async with (
                asyncio.timeout(5),
                self._http().get(
                    path,
                    ssl=context,
                    server_hostname=name,
                    allow_redirects=False,
                    headers=[*_SYSTEM_IDENTITY, ("Accept", "application/json")],
                ) as answer,
            ):
                if answer.status != 200:
                    raise WebhookError(f"bad status from {path}: {answer.status}")
                body = await body_of(answer, _LONGEST_RESOURCES)
                return (
                    "Passed",
                    "all checks passed",
                    resources(body),
                )
        except (
            TimeoutError,
            aiohttp.ClientError,
            OSError,
            WebhookError,
            TooLong,
            msgspec.DecodeError,
            RecursionError,
        ) as error:
            return (
                "FailedDiscoveryCheck",
                f"failing or missing response from {path}: {error or type(error).__name__}",
                [],
            )

    async def _swagger(self, service: APIService) -> dict[str, Any]:
        try:
            url, name, context = self._backend_of(service)
            headers = [*_SYSTEM_IDENTITY, ("Accept", "application/json")]
            async with (
                asyncio.timeout(10),
                self._http().get(
                    f"{url}/openapi/v2",
                    ssl=context,
                    server_hostname=name,
                    headers=headers,
                    allow_redirects=False,
                ) as answer,
            ):
                if answer.status != 200:
                    return {}
                body = await body_of(answer, _LONGEST_OPENAPI)
            document: dict[str, Any] = await asyncio.to_thread(
                swagger_of, body, f"/apis/{service.spec.group}/{service.spec.version}"
            )
        except (
            TimeoutError,
            aiohttp.ClientError,
            OSError,
            ValueError,
            WebhookError,
            msgspec.DecodeError,
            RecursionError,
        ) as error:
            log.info("APIService %s has no OpenAPI v2 document: %s", service.metadata.name, error)
            return {}
        return document

    async def _set_available(
        self, service: APIService, available: bool, reason: str, message: str
    ) -> None:
        """Keeps the condition Available."""
        if not self._leads:
            return
        condition = APIServiceCondition(
            type="Available",
            status=conditions.status_of(available),
            reason=reason,
            message=message,
        )
        standing = conditions.find(service.status.conditions, condition.type)
        if not conditions.differs(standing, condition):
            return

        def change(old: APIService) -> APIService:
            new = copy.deepcopy(old)
            now = self._registry.now()
            wanted = copy.copy(condition)  # a write that conflicts is retried
            new.status.conditions = conditions.updated(old.status.conditions, wanted, now)
            return new

        await self._write(service.metadata.name, change)

    async def _write(self, name: str, change: Any) -> None:
        try:
            write = Write(_SERVICES, "", name, subresource="status")
            await self._registry.update(write, Mutation(change))
        except StatusError as error:
            if not (is_not_found(error) or is_conflict(error)):
                log.warning("APIService %s: %s", name, error)

    # --- what is served here ---

    async def _keep_local(self) -> None:
        """An APIService for each group and version that this server serves itself, and none of
        those it made before."""
        if getattr(self, "_kept", -1) == self._registry.served.generation:
            return
        self._kept = self._registry.served.generation
        wanted = {}
        custom = {r.gv for r in self._registry.served.added}
        for versions in self._registry.served.group_versions().values():
            for place, gv in enumerate(versions):
                wanted[f"{gv.version}.{gv.group}"] = (
                    gv,
                    15 - min(place, 14),
                    "true" if gv in custom else "onstart",
                )
        for name, (gv, rank, mode) in wanted.items():
            if self._cache.get(_SERVICES.key("", name)) is None:
                service = APIService(metadata=ObjectMeta(name=name, labels={AUTOMANAGED: mode}))
                priority = PRIORITIES.get(gv.group, CUSTOM_PRIORITY)
                service.spec = APIServiceSpec(
                    group=gv.group,
                    version=gv.version,
                    group_priority_minimum=priority,
                    version_priority=rank,
                )
                await self._create(service)
        for entry in list(self._cache):
            name = entry.key.rpartition("/")[2]
            if entry.labels.get(AUTOMANAGED) and name not in wanted:
                try:
                    await self._registry.delete(Write(_SERVICES, "", name), DeleteOptions())
                except StatusError as error:
                    if not is_not_found(error):
                        log.warning("APIService %s: %s", name, error)

    async def _create(self, service: APIService) -> None:
        try:
            await self._registry.create(Write(_SERVICES), service)
        except StatusError as error:
            if not is_already_exists(error):
                log.warning("APIService %s: %s", service.metadata.name, error)


_SYSTEM_IDENTITY = [
    ("X-Remote-User", "system:kube-aggregator"),
    ("X-Remote-Group", "system:masters"),
]
