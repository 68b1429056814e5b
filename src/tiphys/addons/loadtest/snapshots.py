"""How everything was before a test, and what it is to be like: kept in the cluster before anything
is changed, in the add-ons' namespace, where users of namespaces cannot change what will be
restored."""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.addons.loadtest import GROUP
from tiphys.addons.loadtest.changes import Original
from tiphys.addons.loadtest.types import LoadTest
from tiphys.addons.optional import LABEL, NAMESPACE
from tiphys.api import core_v1
from tiphys.api.base import Struct
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError, is_already_exists, is_not_found

_KEY = "snapshot"


class Snapshot(Struct):
    """`saved` is what substrates gave, by application; `originals` what production has."""

    saved: dict[str, Any] = {}
    originals: dict[str, Any] = {}

    def original(self, name: str) -> Original | None:
        saved = self.originals.get(name)
        return Original(**saved) if saved is not None else None

    def take_originals(self, originals: dict[str, Original]) -> None:
        self.originals = {
            name: {"replicas": one.replicas, "images": one.images, "version": one.version}
            for name, one in originals.items()
        }


def _name(test: LoadTest) -> str:
    return f"loadtest-{test.metadata.uid}"


async def recalled(client: Client, test: LoadTest) -> Snapshot | None:
    """That of a test; none before it has changed anything, and after everything was restored."""
    try:
        config_map = await client.get(core_v1.ConfigMap, _name(test), NAMESPACE)
    except StatusError as error:
        if is_not_found(error):
            return None
        raise
    return msgspec.json.decode(config_map.data[_KEY], type=Snapshot)


async def remember(client: Client, test: LoadTest, snapshot: Snapshot) -> None:
    """One that is there already holds: it was made before anything was changed."""
    meta = ObjectMeta(
        name=_name(test),
        namespace=NAMESPACE,
        labels={LABEL: "loadtest"},
        annotations={f"{GROUP}/test": f"{test.metadata.namespace}/{test.metadata.name}"},
    )
    data = {_KEY: msgspec.json.encode(snapshot).decode()}
    try:
        await client.create(core_v1.ConfigMap(metadata=meta, data=data))
    except StatusError as error:
        if not is_already_exists(error):
            raise


async def forget(client: Client, test: LoadTest) -> None:
    try:
        await client.delete(core_v1.ConfigMap, _name(test), NAMESPACE)
    except StatusError as error:
        if not is_not_found(error):
            raise
