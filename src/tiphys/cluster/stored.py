"""What is in a cluster's store, read past the API server: values that are not objects, found and
removed whether or not a server can start on it, and values that are not encrypted as they should
be."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tiphys.cluster import encryption
from tiphys.cluster.plan import etcd_client_files, etcd_ports
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.store.corruption import Corrupt, corrupt_of, is_resource_key, prefix_of
from tiphys.store.encryption.sealed import SealedEngine
from tiphys.store.encryption.transformers import Transformers
from tiphys.store.engine import Change, Conflict, StoreError, Write
from tiphys.store.memory import MemoryEngine

if TYPE_CHECKING:
    from tiphys.store.etcd import EtcdEngine


def check(cluster: Cluster) -> list[Corrupt]:
    """Every key that holds no object, in order. Raises ClusterError."""
    changes = current(cluster)
    if cluster.encryption_config:
        sealed = SealedEngine(MemoryEngine(), Transformers(encryption.read(cluster)))
        try:
            asyncio.run(sealed.learn(changes))
        except StoreError as error:
            raise ClusterError(str(error)) from None
        for change in changes:
            sealed.unseal(change)
    return sorted(filter(None, map(corrupt_of, changes)), key=attrgetter("key"))


def not_sealed(cluster: Cluster) -> list[str]:
    """The keys whose values are not encrypted with the key that the cluster's configuration now
    encrypts them with. Raises ClusterError."""
    transformers = Transformers(encryption.read(cluster))
    return sorted(
        change.key
        for change in current(cluster)
        if is_resource_key(change.key)
        and not (change.value or b"").startswith(transformers.of(prefix_of(change.key)).prefix)
    )


def current(cluster: Cluster) -> list[Change]:
    """Every live key with its value as it is stored. Raises ClusterError."""
    try:
        return asyncio.run(_current(cluster))
    except StoreError as error:
        raise ClusterError(str(error)) from None


def remove(cluster: Cluster, key: str) -> None:
    """Removes a key that holds no object. Raises ClusterError."""
    corrupt = next((corrupt for corrupt in check(cluster) if corrupt.key == key), None)
    if corrupt is None:
        raise ClusterError(
            f"{key} holds an object, or nothing; only what tiphys store check lists is removed"
        )
    try:
        asyncio.run(_remove(cluster, corrupt))
    except StoreError as error:
        raise ClusterError(
            f"{error}; end the cluster first: tiphys down --name {cluster.name}"
        ) from None
    except Conflict:
        raise ClusterError(f"{key} has just changed; look again") from None


async def _current(cluster: Cluster) -> list[Change]:
    if cluster.store == "sqlite":
        from tiphys.store.sqlite import read_current

        return read_current(cluster.root / "state.db")
    engine = _etcd(cluster)
    try:
        return (await engine.open(lambda changes: None)).changes
    finally:
        await engine.close()


async def _remove(cluster: Cluster, value: Corrupt) -> None:
    from tiphys.store.sqlite import SQLiteEngine

    engine: EtcdEngine | SQLiteEngine
    engine = (
        SQLiteEngine(cluster.root / "state.db") if cluster.store == "sqlite" else _etcd(cluster)
    )
    await engine.open(lambda changes: None)
    try:
        await engine.commit(Write(value.key, None, value.revision))
    finally:
        await engine.close()


class EtcdPlace(NamedTuple):
    """Where a cluster's etcd is: host:port of its members, and PEM for TLS."""

    endpoints: list[str]
    tls: tuple[bytes, bytes, bytes] | None


def _etcd(cluster: Cluster) -> EtcdEngine:
    from tiphys.store.etcd import EtcdEngine

    place = etcd_place(cluster)
    return EtcdEngine(place.endpoints, tls=place.tls)


def etcd_place(cluster: Cluster) -> EtcdPlace:
    own = f"127.0.0.1:{etcd_ports(cluster.port)[0]}"
    addresses = own if cluster.store == "etcd" else cluster.store
    endpoints = [e.removeprefix("https://").removeprefix("http://") for e in addresses.split(",")]
    tls = [Path(file).read_bytes() for file in etcd_client_files(cluster)]
    return EtcdPlace(endpoints, (tls[0], tls[1], tls[2]) if tls else None)
