"""A new key for a running cluster's encryption, in the steps that upstream's documentation gives:
the key first in the configuration, every object written again, the old keys out.

Objects are written through the API, each as it is. The server writes what is sealed with another
key although nothing in it changes (`SealedEngine.is_stale`).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tiphys.client.client import Client
from tiphys.client.config import Config
from tiphys.client.reloadmetrics import loaded_hashes, sha256_of
from tiphys.cluster import apiclient, components, encryption, stored
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.store.encryption.configuration import EncryptionConfiguration, Key, Keys
from tiphys.store.encryption.transformers import Transformers

_PATIENCE = 30.0  # seconds that the server has to notice a changed file
# Seconds after which the primary has read what one of its workers has read: they look every second.
_PRIMARY = 2.0
_PAGE = 500  # objects that are listed at once
_AT_ONCE = 16  # objects that are written at once


class Rewritten(NamedTuple):
    """What was done: objects that were written, and those that were refused with why."""

    objects: int
    refused: list[str]


def rotate(cluster: Cluster) -> Rewritten:
    """Makes a new key, writes everything with it and forgets the old ones. Raises ClusterError;
    then the old keys are still there."""
    _check_ours(cluster)
    file = Path(cluster.encryption_config)
    configuration = encryption.read(cluster)
    _add_keys(configuration)
    encryption.write(file, configuration)
    rewritten = rewrite(cluster)
    for keys in _first_keys(configuration):
        del keys.keys[1:]
    encryption.write(file, configuration)
    _wait_for_reload(cluster)
    return rewritten


def rewrite(cluster: Cluster) -> Rewritten:
    """Writes every object that is not sealed with the first key of the configuration, and makes
    sure that none is left. Raises ClusterError."""
    if not cluster.encryption_config:
        raise ClusterError(
            f"{cluster.name} is not encrypted; begin with: "
            f"tiphys down --name {cluster.name} && tiphys up --name {cluster.name} --encrypt"
        )
    _wait_for_reload(cluster)
    rewritten = asyncio.run(_rewrite(cluster, encryption.read(cluster)))
    left = stored.not_sealed(cluster)
    if left:
        reasons = "; ".join(rewritten.refused[:3]) or "they were written meanwhile, or not served"
        raise ClusterError(
            f"{len(left)} values are not encrypted with the first key, {left[0]} for one "
            f"({reasons}); the older keys were kept"
        )
    return rewritten


def _check_ours(cluster: Cluster) -> None:
    file = encryption.own_file(cluster)
    if cluster.encryption_config and Path(cluster.encryption_config) != file:
        raise ClusterError(
            f"{cluster.encryption_config} is yours: put a new key before the others there, and "
            f"run this with --rewrite-only; then remove the old keys"
        )


def _first_keys(configuration: EncryptionConfiguration) -> Iterator[Keys]:
    """The keys of each provider that encrypts."""
    for rule in configuration.resources:
        first = rule.providers[0]
        keys = first.secretbox or first.aesgcm or first.aescbc
        if keys is not None:
            yield keys


def _add_keys(configuration: EncryptionConfiguration) -> None:
    for keys in _first_keys(configuration):
        keys.keys.insert(0, encryption.new_key(_next_name(keys.keys)))


def _next_name(keys: list[Key]) -> str:
    """``key2`` after ``key1``."""
    numbers = [int(key.name[3:]) for key in keys if re.fullmatch(r"key\d+", key.name)]
    return f"key{max(numbers, default=0) + 1}"


def _wait_for_reload(cluster: Cluster) -> None:
    """Returns once the server encrypts as the file says."""
    data = Path(cluster.encryption_config).read_bytes()
    wanted = sha256_of(data)
    deadline = time.monotonic() + _PATIENCE
    if not components.is_running(cluster):
        raise ClusterError(
            f"{cluster.name} is down, and its objects are written through its API; start it with: "
            f"tiphys up --name {cluster.name}"
        )
    while wanted not in loaded_hashes(_metrics(cluster), "encryption"):
        if time.monotonic() > deadline:
            log = cluster.logs / "apiserver.log"
            raise ClusterError(
                f"the API server did not load {cluster.encryption_config}; see {log}"
            )
        time.sleep(0.1)
    if cluster.api_workers:
        time.sleep(_PRIMARY)


def _metrics(cluster: Cluster) -> str:
    try:
        return apiclient.get(cluster, "/metrics")[1].decode()
    except OSError:
        return ""


async def _rewrite(cluster: Cluster, configuration: EncryptionConfiguration) -> Rewritten:
    pki = cluster.pki
    config = Config(cluster.server, pki / "ca.crt", pki / "admin.crt", pki / "admin.key")
    transformers = Transformers(configuration)
    refused: list[str] = []
    count = 0
    async with Client(config, "tiphys-rotation") as client:
        async for resource in _resources(client):
            if not transformers.of(resource.prefix).prefix:
                continue
            async for objects in _pages(client, resource):
                writes = [_write_again(client, resource, obj) for obj in objects]
                for start in range(0, len(writes), _AT_ONCE):
                    faults = await asyncio.gather(*writes[start : start + _AT_ONCE])
                    refused += filter(None, faults)
                count += len(objects)
    return Rewritten(count - len(refused), refused)


class _Resource(NamedTuple):
    """A resource that is stored here, as discovery has it."""

    group: str
    api_version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def prefix(self) -> str:
        return f"/{self.group or 'core'}/{self.plural}/"

    def path(self, namespace: str = "") -> str:
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        return (
            f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"
        )


async def _resources(client: Client) -> AsyncIterator[_Resource]:
    """Every resource that can be listed and updated and is this server's own."""
    services = await _get(client, "/apis/apiregistration.k8s.io/v1/apiservices")
    foreign = {
        service["spec"]["group"] for service in services["items"] if service["spec"].get("service")
    }
    groups = (await _get(client, "/apis"))["groups"]
    served = [("", "v1")]
    # Events are stored under the core group, whichever they are written by.
    skipped = {"events.k8s.io", *foreign}
    served += [
        (group["name"], group["preferredVersion"]["groupVersion"])
        for group in groups
        if group["name"] not in skipped
    ]
    for group, api_version in served:
        root = "apis" if group else "api"
        for row in (await _get(client, f"/{root}/{api_version}"))["resources"]:
            if "/" not in row["name"] and {"list", "update"} <= set(row["verbs"]):
                yield _Resource(group, api_version, row["name"], row["kind"], row["namespaced"])


async def _pages(client: Client, resource: _Resource) -> AsyncIterator[list[dict[str, Any]]]:
    token = ""
    while True:
        query = {"limit": str(_PAGE)} | ({"continue": token} if token else {})
        page = await _get(client, resource.path(), query)
        yield page["items"]
        token = page["metadata"].get("continue", "")
        if not token:
            return


async def _write_again(client: Client, resource: _Resource, obj: dict[str, Any]) -> str:
    """Returns why the object was refused; who changed it meanwhile, or deleted it, has done our
    work."""
    metadata = obj["metadata"]
    obj |= {"apiVersion": resource.api_version, "kind": resource.kind}
    path = f"{resource.path(metadata.get('namespace', ''))}/{metadata['name']}"
    try:
        await client.request("PUT", path, msgspec.json.encode(obj))
    except StatusError as error:
        return "" if is_write_overtaken(error) else f"{path}: {error}"
    return ""


async def _get(client: Client, path: str, query: dict[str, str] | None = None) -> Any:
    return msgspec.json.decode(await client.request("GET", path, query=query))
