"""The add-on at work: opens the doors, leads nodes here, sweeps now and then."""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from pathlib import Path

from tiphys.addons.optional import Context
from tiphys.addons.registry import HOSTS, TOKEN_FILE, Settings, nodes
from tiphys.addons.registry.access import Access, Door, password_of
from tiphys.addons.registry.serving import RegistryServer
from tiphys.addons.registry.storage import Storage
from tiphys.addons.registry.sweeping import sweep
from tiphys.api import core_v1
from tiphys.machinery.addresses import authority

log = logging.getLogger(__name__)
_LOOPBACK = "127.0.0.1"
_EVERY = 600.0  # seconds between two sweeps


async def run(context: Context) -> None:
    """Until it is cancelled. Raises OSError when a port is taken, or a file cannot be read."""
    settings: Settings = context.settings
    storage = Storage(context.data_dir, int(settings.capacity * (1 << 30)))
    await asyncio.to_thread(storage.open)
    access = Access(password_of(context.data_dir / TOKEN_FILE))
    server = RegistryServer(storage, access)
    hosts = context.data_dir / HOSTS
    try:
        is_open = settings.push == "loopback"
        local = Door("anybody" if is_open else "password")
        port = await server.open(local, _LOOPBACK, settings.port)
        where = [f"localhost:{port}"]
        if settings.certificate:
            tls = _tls(Path(settings.certificate), Path(settings.key))
            door = Door("password", "https")
            tls_port = await server.open(door, settings.tls_address, settings.tls_port, tls)
            where.append(f"https://{authority(settings.tls_address, tls_port)}")
        lead = _Leading(context, server, port, hosts)
        lead.write(_LOOPBACK)
        context.informers.of(core_v1.Node).on_change(lead.changed)
        context.tasks.start(_sweeping(context, storage, server), "sweeping")
        pushed_by = "anybody on this machine" if is_open else "who has the password"
        mirrored = f", mirrors {settings.mirrors}" if settings.mirrors else ""
        context.ready(f"{' and '.join(where)}, pushed to by {pushed_by}{mirrored}")
        await asyncio.Event().wait()
    finally:
        nodes.remove_hosts(hosts)
        await server.close()


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(certificate, key)
    return tls


class _Leading:
    """Opens a door, for reading alone, at the address that this machine has among the nodes, and
    has them come there."""

    def __init__(self, context: Context, server: RegistryServer, port: int, hosts: Path) -> None:
        self._tasks = context.tasks
        self._server = server
        self._port = port
        self._hosts = hosts
        self._mirrors: list[str] = context.settings.mirrored()
        self._tried: set[str] = set()

    def changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        address = nodes.address_of(new) if new is not None else ""
        if address and address not in self._tried:
            self._tried.add(address)
            self._tasks.start(self._open(address), "door-for-nodes")

    async def _open(self, address: str) -> None:
        try:
            await self._server.open(Door("nobody"), address, self._port)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # it is another machine's, or a sandbox's
                log.warning("nodes cannot pull from %s: %s", address, error)
            return
        self.write(address)

    def write(self, address: str) -> None:
        nodes.write_hosts(self._hosts, self._mirrors, self._port, address)


async def _sweeping(context: Context, storage: Storage, server: RegistryServer) -> None:
    while True:
        server.uploads.forget_abandoned()
        swept = await asyncio.to_thread(sweep, storage, context.now())
        if swept.blobs:
            log.info("registry: removed %d blobs, %d bytes", swept.blobs, swept.size)
        await asyncio.sleep(_EVERY)
