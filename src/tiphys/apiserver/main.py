"""`tiphys apiserver`: puts the server together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tiphys.apiserver.access.authentication import ServiceAccountTokens
from tiphys.apiserver.access.authenticationoptions import Authentication, AuthenticationOptions
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.authorizationoptions import Authorization, AuthorizationOptions
from tiphys.apiserver.access.bootstraptokens import BootstrapTokens
from tiphys.apiserver.access.defaultroles import NODE_RULES
from tiphys.apiserver.access.nodeauthorizer import NodeAuthorizer
from tiphys.apiserver.admission import Admission, configuration
from tiphys.apiserver.admission.chain import admission_chain
from tiphys.apiserver.audit.options import AuditOptions, auditor_of
from tiphys.apiserver.bootstrap import bootstrap, keep_kubernetes
from tiphys.apiserver.custom.controller import DefinitionController
from tiphys.apiserver.eventloop.aside import SWITCH_INTERVAL
from tiphys.apiserver.eventloop.memory import (
    MemoryTrimmer,
    settle_allocator,
    settle_collector,
)
from tiphys.apiserver.http.auditing import Audited
from tiphys.apiserver.http.serving import Answering, serve, tls_context
from tiphys.apiserver.parts import Part, ServerContext
from tiphys.apiserver.proxying.aggregation import Aggregator, FrontProxy
from tiphys.apiserver.proxying.connect import Connector
from tiphys.apiserver.proxying.webhooks import WebhookCaller
from tiphys.apiserver.registry.admissionmetrics import AdmissionMetrics
from tiphys.apiserver.registry.expiry import expire_events
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.resources import Strategies, selectable_fields
from tiphys.apiserver.resources.base import Settings
from tiphys.apiserver.resources.events import EventStrategy
from tiphys.apiserver.server import APIServer
from tiphys.client.exposition import component_registry
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup
from tiphys.store.engine import Engine
from tiphys.store.metrics import StoreMetrics
from tiphys.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How a server runs.

    Files are PEM. `store` is sqlite, memory, or comma-separated etcd endpoints.
    """

    certificate: Path
    key: Path
    client_ca: Path
    token_key: Path
    data_dir: Path
    bind: str = "0.0.0.0"
    port: int = 6443
    address: str = "127.0.0.1"
    store: str = "sqlite"
    etcd_tls: tuple[Path, Path, Path] | None = None
    token_file: Path | None = None
    node_certificate: Path | None = None
    node_key: Path | None = None
    front_proxy: tuple[Path, Path, Path] | None = None  # authority, certificate, key
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    service_cidr: str = "10.96.0.0/16"  # or two of them, one of each family
    enable_admission: tuple[str, ...] = ()  # names of plugins, as upstream spells them
    disable_admission: tuple[str, ...] = ()
    admission_config: Path | None = None  # an AdmissionConfiguration
    audit: AuditOptions = field(default_factory=AuditOptions)
    authorization: AuthorizationOptions = field(default_factory=AuthorizationOptions)
    authentication: AuthenticationOptions = field(default_factory=AuthenticationOptions)


def engine_of(options: Options) -> Engine:
    if options.store == "sqlite":
        from tiphys.store.sqlite import SQLiteEngine

        return SQLiteEngine(options.data_dir / "state.db")
    if options.store == "memory":
        from tiphys.store.memory import MemoryEngine

        return MemoryEngine()
    from tiphys.store.etcd import EtcdEngine

    endpoints = [
        e.removeprefix("https://").removeprefix("http://") for e in options.store.split(",")
    ]
    tls = tuple(path.read_bytes() for path in options.etcd_tls) if options.etcd_tls else None
    return EtcdEngine(endpoints, tls=tls)  # type: ignore[arg-type]


class RunningServer:
    """A started server; `stop()` ends it cleanly. `parts` are of add-ons."""

    def __init__(self, options: Options, parts: Sequence[Part] = ()) -> None:
        self.options = options
        self._parts = parts
        self.collectors = component_registry()
        self.store = Store(engine_of(options), selectable_fields, StoreMetrics(self.collectors))
        self.registry: Registry
        self._tasks = TaskGroup("apiserver")

    async def start(self) -> None:
        options = self.options
        self._auditor = auditor_of(options.audit, self.collectors)
        await self.store.open()
        nodes = NodeAuthorizer(self.store, NODE_RULES)
        address = f"{options.address}:{options.port}"
        self._caller, authorizer = WebhookCaller(self.store), Authorizer(self.store, nodes.allows)
        self._authorization = Authorization(
            options.authorization, authorizer, self.collectors, address
        )
        admission: Admission = admission_chain(
            lambda: self.registry,
            lambda: authorizer,
            lambda: self._caller,
            options.enable_admission,
            options.disable_admission,
            configuration.read(options.admission_config),
        )
        admission.count_in(AdmissionMetrics(self.collectors))
        service_cidrs = map(ipaddress.ip_network, options.service_cidr.split(","))
        strategies = Strategies(Settings(tuple(service_cidrs)))
        self.registry = Registry(self.store, admission, strategies.of, self._caller)
        tokens = ServiceAccountTokens(options.token_key.read_bytes(), options.issuer, self.store)
        self._connector = Connector(self.registry, _node_tls(options))
        joining = BootstrapTokens(self.store, tokens.now)
        self._authentication = Authentication(
            options.authentication, tokens, options.token_file, self.collectors, address, joining
        )
        proxy = FrontProxy(*options.front_proxy[1:]) if options.front_proxy else None
        self._aggregator = Aggregator(self.registry, self._caller, proxy)
        place = ServerContext(self.registry, _node_tls(options))
        self._groups = [part(place) for part in self._parts]
        self.server = APIServer(
            self.registry,
            self._authentication.authenticator,
            authorizer,
            self._connector,
            self._aggregator,
            {group.group: group for group in self._groups},
            address,
            self.collectors,
            self._auditor,
        )
        definitions = DefinitionController(
            self.registry, self.server.reader.watches.end_of, self._tasks
        )
        definitions.serve()
        await bootstrap(
            self.registry,
            options.address,
            options.port,
            authorities=_authorities(options),
            volumes=str(options.data_dir.absolute() / "volumes"),
        )
        self._tasks.start(definitions.run(), "definitions")
        kept = keep_kubernetes(self.registry, options.address, options.port)
        self._tasks.start(kept, "kubernetes-service")
        self._tasks.start(self._aggregator.run(), "aggregator")
        for group in self._groups:
            self._tasks.start(group.run(), group.group)
        authorizer.refresh()
        self.server.watchdog.start()
        self.server.ready = True
        trimmer = MemoryTrimmer(self.store.compress_history)
        self._tasks.start(trimmer.run(), "trim-memory")
        self._tasks.start(
            expire_events(self.store, self.registry.now, EventStrategy.lifetime), "expire-events"
        )
        context = tls_context(options.certificate, options.key, options.client_ca)
        self._authentication.start()
        self._authorization.start()
        front: Answering = self.server
        if self._auditor is not None:
            self._auditor.start()
            front = Audited(self.server)
        self._runner = await serve(front, options.bind, options.port, context)
        log.info("serving on https://%s:%d", options.bind, options.port)

    async def stop(self) -> None:
        self.server.watchdog.stop()
        self.server.reader.watches.end_all()
        await self._tasks.stop()
        await self.server.reader.tasks.stop()
        await self._runner.cleanup()
        await self._authentication.stop()
        await self._authorization.stop()
        if self._auditor is not None:
            await self._auditor.stop()
        await self._connector.close()
        await self._caller.close()
        await self.registry.workers.close()
        await self._aggregator.close()
        for group in self._groups:
            await group.close()
        await self.store.close()


def _authorities(options: Options) -> dict[str, str]:
    """What servers behind this one need to know whom to believe."""
    found = {"client-ca-file": options.client_ca.read_text()}
    if options.front_proxy is not None:
        found |= {
            "requestheader-client-ca-file": options.front_proxy[0].read_text(),
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
    return found


def _node_tls(options: Options) -> ssl.SSLContext | None:
    if options.node_certificate is None or options.node_key is None:
        return None
    context = ssl.create_default_context(cafile=str(options.client_ca))
    context.load_cert_chain(options.node_certificate, options.node_key)
    # Nodes are reached by address, but it is the node that has to be there: a node that says
    # another's address, or this
    # server's own, gets nobody's requests there. The name is given with each connection.
    context.check_hostname = True
    return context


async def run(options: Options, parts: Sequence[Part] = ()) -> None:
    """Serves until SIGTERM or SIGINT."""
    settle_allocator()
    settle_collector()
    stop = stop_event()
    sys.setswitchinterval(SWITCH_INTERVAL)
    running = RunningServer(options, parts)
    await running.start()
    await stop.wait()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(running.stop(), 10)
