"""What drivers offer to the scheduler on this node, once they are gone.

No pod should wait on this node for a driver that does not come back. Drivers publish their slices
themselves and most publish them again when they are deleted, but they cannot delete them when they
have crashed: the node does.
"""

from __future__ import annotations

import logging
import time

from tiphys.api import resource_v1 as v1
from tiphys.client.client import Client, Unreachable
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

_DELAY = 30.0  # seconds that a driver has to come back, as upstream


class DriverSlices:
    """`node` is the node's name. A driver that is not there when the agent starts has as long to
    come as one that goes (upstream deletes its slices at once)."""

    def __init__(self, client: Client, node: str, delay: float = _DELAY) -> None:
        self._client = client
        self._node = node
        self._delay = delay
        self._missing_since: dict[str, float] = {}

    async def look(self, usable: set[str]) -> None:
        """Deletes what drivers offer that have not been among the `usable` for long."""
        try:
            fields = f"spec.nodeName={self._node}"
            page = await self._client.list(v1.ResourceSlice, fields=fields, revision="0")
            now = time.monotonic()
            missing = {resource_slice.spec.driver for resource_slice in page.items} - usable
            since = {name: self._missing_since.get(name, now) for name in missing}
            self._missing_since = since
            for resource_slice in page.items:
                driver = resource_slice.spec.driver
                if driver in since and now - since[driver] >= self._delay:
                    name = resource_slice.metadata.name
                    log.info("ResourceSlice %s is deleted: its driver is gone", name)
                    await self._client.delete(
                        v1.ResourceSlice, name, uid=resource_slice.metadata.uid
                    )
        except (StatusError, Unreachable) as error:
            log.info("Slices of drivers that are gone are not deleted yet: %s", error)
