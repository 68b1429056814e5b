"""What is looked after while a pod runs: logs that have become long, and the disk it uses."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from tiphys.machinery.finished import pod_finished
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.resources.admission import Rejection
from tiphys.node.resources.eviction import excess, is_limited, measure
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import Usage

_AT_ONCE = 0.0

log = logging.getLogger(__name__)


async def keep_house(managed: ManagedPod, used: Mapping[str, Usage]) -> None:
    """Rotates the pod's logs, and evicts it if it has too much on disk. `used` is by container."""
    await _rotate_logs(managed)
    if managed.failure is not None or pod_finished(managed.pod):
        return
    if not is_limited(managed.pod.spec):
        return
    message = await _excess(managed, used)
    if message and not managed.gone:
        managed.event("Warning", "Evicted", message)
        managed.evict(Rejection("Evicted", message), _AT_ONCE)


async def _rotate_logs(managed: ManagedPod) -> None:
    for container in managed.state.running():
        try:
            await managed.node.runtime.rotate_log(managed.identity, container)
        except (OSError, RuntimeFault, TimeoutError) as error:
            log.warning(
                "The log of container %s of pod %s is not rotated: %s",
                container.name,
                managed.identity,
                error,
            )


async def _excess(managed: ManagedPod, used: Mapping[str, Usage]) -> str:
    """What the pod has too much of on disk; "" if nothing."""
    spec = managed.pod.spec
    scratch, logs = managed.folders_on_disk()
    written = {name: usage.disk for name, usage in used.items()}
    return excess(spec, await measure(spec, scratch, logs, written))
