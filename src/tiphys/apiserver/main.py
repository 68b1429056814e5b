"""`tiphys apiserver`: puts the server together and runs it until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import pickle
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from tiphys.apiserver.access.authenticationoptions import Authentication
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.authorizationoptions import Authorization
from tiphys.apiserver.access.bootstraptokens import BootstrapTokens
from tiphys.apiserver.access.defaultroles import NODE_RULES
from tiphys.apiserver.access.nodeauthorizer import NodeAuthorizer
from tiphys.apiserver.access.serviceaccounttokens import ServiceAccountTokens
from tiphys.apiserver.admission import Admission, configuration
from tiphys.apiserver.admission.chain import admission_chain
from tiphys.apiserver.audit.options import auditor_of
from tiphys.apiserver.bootstrap import bootstrap, keep_kubernetes
from tiphys.apiserver.custom.controller import DefinitionController
from tiphys.apiserver.eventloop.aside import SWITCH_INTERVAL
from tiphys.apiserver.eventloop.memory import MemoryTrimmer, settle_allocator
from tiphys.apiserver.http.auditing import Audited
from tiphys.apiserver.http.serving import Answering, listen, serve, tls_context
from tiphys.apiserver.options import Options, authorities, engine_of, node_tls, of_worker
from tiphys.apiserver.parts import Part, ServerContext
from tiphys.apiserver.proxying.aggregation import Aggregator
from tiphys.apiserver.proxying.connect import Connector
from tiphys.apiserver.proxying.remotes import FrontProxy
from tiphys.apiserver.proxying.webhooks import WebhookCaller
from tiphys.apiserver.registry.admissionmetrics import AdmissionMetrics
from tiphys.apiserver.registry.expiry import expire_events
from tiphys.apiserver.registry.presence import Presence
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.resources import Strategies, selectable_fields
from tiphys.apiserver.resources.base import Settings
from tiphys.apiserver.resources.events import EventStrategy
from tiphys.apiserver.server import APIServer
from tiphys.apiserver.workers.handover import Taking
from tiphys.apiserver.workers.pool import Pool
from tiphys.client.exposition import component_registry
from tiphys.client.front import Site
from tiphys.client.signals import stop_event
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.addresses import authority
from tiphys.store.engine import Engine
from tiphys.store.metrics import StoreMetrics
from tiphys.store.replica import ReplicaEngine
from tiphys.store.sharing import SharedEngine
from tiphys.store.store import IsStale, Store, never_stale
from tiphys.store.wire import Published

if TYPE_CHECKING:
    from tiphys.store.encryption.reloading import Reloader
    from tiphys.store.encryption.sealed import SealedEngine

log = logging.getLogger(__name__)
_LONGEST_OPTIONS = 1 << 16  # bytes
_LEAVING = 0.5  # seconds in which clients are asked to reconnect
_LEAVING_AT_MOST = 6  # times that long, while handshakes are not over
_MAY_ASK_AGAIN = 1.5  # seconds within which a client asks again on a connection, or does not
_IDLE_AT_MOST = 65.0  # seconds that clients keep a connection which they do not use


class RunningServer:
    """A started server; `stop()` ends it cleanly. `parts` are of add-ons.

    With `options.workers` it is their primary, and they serve the clients. With `replica` it is one
    of them: `take` is given the connections, and what one process of a server has to do is left to
    the primary.
    """

    def __init__(
        self, options: Options, parts: Sequence[Part] = (), replica: ReplicaEngine | None = None
    ) -> None:
        self.options = options
        self._parts = parts
        self.collectors = component_registry()
        self._replica = replica
        self._shared: SharedEngine | None = None
        self._reloader: Reloader | None = None
        self._encryption: SealedEngine | None = None
        self.store = self._store()
        self.registry: Registry
        self.pool: Pool | None = None
        self._presence: Presence | None = None
        self._tasks = TaskGroup("apiserver")

    def _store(self) -> Store:
        """The store, with encryption around its engine when that is wanted. Raises
        ConfigurationError."""
        metrics = StoreMetrics(self.collectors)
        if self._replica is not None:
            store = Store(
                self._replica, selectable_fields, metrics, self._stale_of_worker(self._replica)
            )
            self._replica.forget = store.forget
            return store
        engine, stale = self._engine()
        if self.options.workers:
            engine = self._shared = SharedEngine(engine)
        return Store(engine, selectable_fields, metrics, stale)

    def _engine(self) -> tuple[Engine, IsStale]:
        """With the check for stale keys, which are rewritten although nothing in them changes."""
        engine = engine_of(self.options)
        sealed = self._sealed(engine)
        return (engine, never_stale) if sealed is None else (sealed, sealed.is_stale)

    def _stale_of_worker(self, replica: ReplicaEngine) -> IsStale:
        """A worker cannot see with which key its primary has sealed a value: what is sealed at all
        is always written."""
        sealed = self._sealed(replica)
        return never_stale if sealed is None else sealed.seals

    def _sealed(self, engine: Engine) -> SealedEngine | None:
        """The engine with encryption around it, if that is wanted. Raises ConfigurationError."""
        options = self.options
        if options.encryption_config is None:
            return None
        from tiphys.store.encryption.reloading import encrypted

        address = authority(options.address, options.port)
        file = options.encryption_config
        sealed, reloader = encrypted(engine, file, self.collectors, address)
        self._reloader = reloader if options.encryption_reload else None
        self._encryption = sealed
        return sealed

    async def start(self) -> None:
        options = self.options
        serves = self._shared is None
        self._auditor = auditor_of(options.audit, self.collectors) if serves else None
        if not self.store.is_shared:
            self._report_ready()  # the other has to close it first
        await self.store.open()
        if self._reloader is not None:
            self._tasks.start(self._reloader.run(), "encryption-config")
        nodes = NodeAuthorizer(self.store, NODE_RULES)
        address = authority(options.address, options.port)
        self._caller = WebhookCaller(self.store)
        authorizer = Authorizer(self.store, nodes.allows)
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
        self._connector = Connector(self.registry, node_tls(options))
        joining = BootstrapTokens(self.store, tokens.now)
        self._authentication = Authentication(
            options.authentication, tokens, options.token_file, self.collectors, address, joining
        )
        proxy = FrontProxy(*options.front_proxy[1:]) if options.front_proxy else None
        self._aggregator = Aggregator(self.registry, self._caller, proxy)
        place = ServerContext(self.registry, node_tls(options))
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
        encryption = self._encryption
        if encryption is not None and encryption.transformers.envelopes:
            self.server.kms_faults = lambda: encryption.faults
        definitions = DefinitionController(
            self.registry, self.server.reader.watches.end_of, self._tasks
        )
        definitions.serve()
        leads = self._replica is None
        if leads:
            await self._bootstrap()
        self._tasks.start(definitions.run(leads), "definitions")
        self._tasks.start(self._aggregator.run(leads), "aggregator")
        if self._shared is None:
            for group in self._groups:
                self._tasks.start(group.run(), group.group)
        authorizer.refresh()
        self.server.watchdog.start()
        self.server.ready = True
        trimmer = MemoryTrimmer(self.store.compress_history, lambda: self.server.watchdog.requests)
        self._tasks.start(trimmer.run(), "trim-memory")
        await self._serve()
        if self.store.is_shared:
            self._report_ready()

    def _report_ready(self) -> None:
        """Reports to the starter of this server that the previous one may stop."""
        if self.options.ready is not None:
            os.write(self.options.ready, b".")
            os.close(self.options.ready)

    async def _bootstrap(self) -> None:
        """The bootstrap objects, and the tasks that maintain them."""
        options = self.options
        self._presence = Presence(self.store, options.address)
        await bootstrap(
            self.registry,
            self._presence,
            options.port,
            authorities=authorities(options),
            volumes=str(options.data_dir.absolute() / "volumes"),
        )
        kept = keep_kubernetes(self.registry, self._presence, options.port)
        self._tasks.start(kept, "kubernetes-service")
        self._tasks.start(self._presence.keep(), "presence")
        self._tasks.start(
            expire_events(self.store, self.registry.now, EventStrategy.lifetime), "expire-events"
        )

    async def _serve(self) -> None:
        options = self.options
        if self._shared is not None:
            self.pool = Pool(
                options.workers,
                partial(of_worker, options),
                options.log_format,
                self._shared,
                self.store,
            )
            await self.pool.start()
            self._listener = await listen(
                self.pool.take, options.bind, options.port, options.inherited
            )
        else:
            self._authentication.start()
            self._authorization.start()
            front: Answering = self.server
            if self._auditor is not None:
                self._auditor.start()
                front = Audited(self.server)
            context = tls_context(options.certificate, options.key, options.client_ca)
            self._runner, self._site = await serve(
                front,
                options.bind,
                options.port,
                context,
                options.inherited,
                listens=self._replica is None,
            )
        if self._replica is None:
            log.info("serving on https://%s", authority(options.bind, options.port))

    def take(self, connection: socket.socket) -> None:
        """Serves a connection that another process has accepted."""
        self._site.take(connection)

    async def _leave(self) -> None:
        """Sees off the clients before another server takes over the socket: new connections wait
        for it, and those that are there are closed after their next answer."""
        sites = [site for site in self._runner.sites if isinstance(site, Site)]
        if not any(site.listens for site in sites):
            return
        for site in sites:
            site.pause()
        self.server.leaving = True
        rounds = _LEAVING_AT_MOST
        kept = _MAY_ASK_AGAIN
        if self._presence is not None and self._presence.is_followed:
            # Nothing waits for this process: there is time to notify every client.
            rounds = round(_IDLE_AT_MOST / _LEAVING)
            kept = _IDLE_AT_MOST
            self.server.reader.watches.end_all()
        for _ in range(rounds):
            await asyncio.sleep(_LEAVING)
            if not any(site.busy or site.is_used(kept) for site in sites):
                break

    async def stop(self) -> None:
        if self.pool is not None:
            self._listener.pause()
            self._listener.close()
            await self.pool.stop()
        elif self.options.inherited is not None:
            await self._leave()
        self.server.watchdog.stop()
        self.server.reader.watches.end_all()
        await self._tasks.stop()
        if self._presence is not None:
            await self._presence.leave()
        await self.server.reader.tasks.stop()
        if self.pool is None:
            await self._runner.cleanup()
        await self._authentication.stop()
        await self._authorization.stop()
        if self._auditor is not None and self.pool is None:
            await self._auditor.stop()
        await self._connector.close()
        await self._caller.close()
        await self.registry.workers.close()
        await self._aggregator.close()
        for group in self._groups:
            await group.close()
        await self.store.close()


async def run(options: Options, parts: Sequence[Part] = ()) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = _settled()
    running = RunningServer(options, parts)
    await running.start()
    gc.freeze()  # what starting has made stays
    await stop.wait()
    await _stopped(running)


async def run_worker(stream: int, door: int, published: int, parts: Sequence[Part] = ()) -> None:
    """Serves what the primary hands over, until it stops this process or ends.

    The arguments are descriptors: of the stream of `store.wire`, of the socket that connections
    come through (`workers.handover`), and of `wire.Published`.
    """
    stop = _settled()
    end = socket.socket(fileno=door)
    options: Options = pickle.loads(end.recv(_LONGEST_OPTIONS))  # of our own primary
    engine = ReplicaEngine(socket.socket(fileno=stream), Published(published), stop.set)
    running = RunningServer(options, parts, engine)
    await running.start()
    gc.freeze()
    taking = Taking(end, running.take, stop.set)
    await stop.wait()
    taking.close()
    await _stopped(running)


def _settled() -> asyncio.Event:
    """Readies the process for serving. Returns the event that a signal to stop sets."""
    settle_allocator()
    stop = stop_event()
    sys.setswitchinterval(SWITCH_INTERVAL)
    return stop


async def _stopped(running: RunningServer) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(running.stop(), 10)
