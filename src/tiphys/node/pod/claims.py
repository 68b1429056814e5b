"""Claims for devices, before a pod starts: their driver has to prepare what was allocated."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.client.client import Client, Unreachable
from tiphys.machinery.devices import NotMade, belongs_to, claims_of, is_reserved_for
from tiphys.machinery.errors import StatusError
from tiphys.node.runtime import RuntimeFault


async def prepare(client: Client, pod: core_v1.Pod) -> None:
    """Checks that a pod may use its claims and that they need no driver: no driver registers here.
    Raises RuntimeFault.

    As for upstream's kubelet, a claim without devices in its allocation needs no driver.
    """
    meta = pod.metadata
    try:
        claims = list(claims_of(pod))
    except NotMade as missing:
        problem = f'pod "{meta.namespace}/{meta.name}": ResourceClaim not created yet'
        raise _fault(problem) from missing
    for entry, name in claims:
        try:
            claim = await client.get(v1.ResourceClaim, name, meta.namespace)
        except (StatusError, Unreachable) as error:
            raise _fault(f"fetch ResourceClaim {name}: {error}") from None
        if problem := _obstacle(pod, entry, claim):
            raise _fault(problem)


def _obstacle(pod: core_v1.Pod, entry: str, claim: v1.ResourceClaim) -> str:
    """Why a pod cannot use a claim here; "" if it can. `entry` names the claim in the pod's
    spec."""
    name = claim.metadata.name
    meta = pod.metadata
    is_templated = any(
        one.name == entry and one.resource_claim_template_name for one in pod.spec.resource_claims
    )
    if is_templated and not belongs_to(claim, pod):
        return f"ResourceClaim {name} was not created for pod {meta.name} (pod is not owner)"
    if not is_reserved_for(claim, pod):
        return (
            f"pod {meta.name} ({meta.uid}) is not allowed to use "
            f"ResourceClaim {name} ({claim.metadata.uid})"
        )
    if claim.status.allocation is None:
        return f"ResourceClaim {name}: not allocated"
    for result in claim.status.allocation.devices.results:
        return f"DRA driver {result.driver} is not registered" if result.driver else ""
    return ""


def _fault(problem: str) -> RuntimeFault:
    text = f"Failed to prepare dynamic resources: prepare dynamic resources: {problem}"
    return RuntimeFault("FailedPrepareDynamicResources", text)
