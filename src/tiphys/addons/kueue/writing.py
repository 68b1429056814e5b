"""Writes of workloads, each based on the version that was read."""

from __future__ import annotations

import copy
from collections.abc import Callable

from tiphys.addons.kueue.types.workloads import Workload
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.machinery.errors import StatusError, is_already_exists


class Workloads:
    """The workloads of a cluster, to read and to change."""

    def __init__(self, client: Client, informer: Informer[Workload]) -> None:
        self._client = client
        self.informer = informer

    async def create(self, workload: Workload) -> str:
        """Its key; "" when it is there already. Raises StatusError."""
        try:
            written = await self._client.create(workload)
        except StatusError as error:
            if not is_already_exists(error):
                raise
            return ""
        self.informer.note_written(written)
        return f"{workload.metadata.namespace}/{workload.metadata.name}"

    async def change(self, workload: Workload, change: Callable[[Workload], None]) -> Workload:
        """Writes the status as `change` leaves it, if it does leave it otherwise. Raises
        StatusError, a conflict if the workload is not what it was any more."""
        changed = copy.deepcopy(workload)
        change(changed)
        if changed.status == workload.status:
            return workload
        written = await self._client.update_status(changed)
        self.informer.note_written(written)
        return written

    async def respecify(self, workload: Workload, change: Callable[[Workload], None]) -> Workload:
        """The same for its spec."""
        changed = copy.deepcopy(workload)
        change(changed)
        if changed.spec == workload.spec:
            return workload
        written = await self._client.update(changed)
        self.informer.note_written(written)
        return written
