"""Claims for devices, before a pod starts: what they were given has to be prepared by its driver."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.client.client import Client, Unreachable
from tiphys.machinery.devices import NotMade, belongs_to, claims_of, is_reserved_for
from tiphys.machinery.errors import StatusError
from tiphys.node.runtime import RuntimeFault


async def prepare(client: Client, pod: core_v1.Pod) -> None:
    """Sees that a pod may use its claims, and that they need no driver: there are none here. Raises RuntimeFault.

    A claim that was given no devices needs nobody, as for a kubelet.
    """
    try:
        wanted = list(claims_of(pod))
    except NotMade as missing:
        raise _fault(
            f'pod "{pod.metadata.namespace}/{pod.metadata.name}": ResourceClaim not created yet'
        ) from missing
    for entry, name in wanted:
        try:
            claim = await client.get(v1.ResourceClaim, name, pod.metadata.namespace)
        except (StatusError, Unreachable) as error:
            raise _fault(f"fetch ResourceClaim {name}: {error}") from None
        if reason := _obstacle(pod, entry, claim):
            raise _fault(reason)


def _obstacle(pod: core_v1.Pod, entry: str, claim: v1.ResourceClaim) -> str:
    """Why a pod cannot use a claim here; empty: it can."""
    name, meta = claim.metadata.name, pod.metadata
    templated = any(
        e.name == entry and e.resource_claim_template_name for e in pod.spec.resource_claims
    )
    if templated and not belongs_to(claim, pod):
        return f"ResourceClaim {name} was not created for pod {meta.name} (pod is not owner)"
    if not is_reserved_for(claim, pod):
        return f"pod {meta.name} ({meta.uid}) is not allowed to use ResourceClaim {name} ({claim.metadata.uid})"
    if claim.status.allocation is None:
        return f"ResourceClaim {name}: not allocated"
    driver = next((result.driver for result in claim.status.allocation.devices.results), "")
    return f"DRA driver {driver} is not registered" if driver else ""


def _fault(reason: str) -> RuntimeFault:
    text = f"Failed to prepare dynamic resources: prepare dynamic resources: {reason}"
    return RuntimeFault("FailedPrepareDynamicResources", text)
