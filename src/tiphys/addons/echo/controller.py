"""The controller of the echo add-on: a pure core, and the reconciler around it."""

from __future__ import annotations

import asyncio

from tiphys.addons.echo.types import Echo, EchoStatus
from tiphys.addons.optional import Context
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.operator import Reconciler


def config_map_of(echo: Echo, prefix: str) -> core_v1.ConfigMap:
    """What should be there for an Echo."""
    meta = ObjectMeta(name=echo.metadata.name, namespace=echo.metadata.namespace)
    return core_v1.ConfigMap(metadata=meta, data={"said": prefix + echo.spec.text})


class EchoReconciler(Reconciler[Echo]):
    kind = Echo
    owns = (core_v1.ConfigMap,)

    async def reconcile(self, obj: Echo) -> float | None:
        wanted = config_map_of(obj, self.settings.prefix)
        await self.apply(obj, wanted)
        await self.set_status(obj, EchoStatus(said=wanted.data["said"]))
        return None


async def run(context: Context) -> None:
    await context.reconcile(EchoReconciler)
    context.ready("echoes are kept")
    await asyncio.Event().wait()
