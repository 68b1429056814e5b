"""Claims for devices: made from templates for the pods that want them, and emptied when nobody uses them any more."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import decode, encode
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.pods import is_active, owner_reference
from tiphys.controllers.shell import Controller, controller_of, split_key
from tiphys.machinery.devices import (
    FINALIZER,
    MOST_USERS,
    POD_CLAIM,
    NotMade,
    belongs_to,
    claims_of,
    consumer,
    is_reserved_for,
)
from tiphys.machinery.errors import StatusError


def is_done(pod: core_v1.Pod) -> bool:
    """Whether a pod runs no more, or never will: what it had may be given to others."""
    if pod.status.phase in ("Succeeded", "Failed"):
        return True
    return bool(pod.metadata.deletion_timestamp) and not pod.spec.node_name


def from_template(
    template: v1.ResourceClaimTemplate, pod: core_v1.Pod, entry: str
) -> v1.ResourceClaim:
    """The claim of a pod for an entry that names a template."""
    said, meta = template.spec.metadata, pod.metadata
    made = v1.ResourceClaim(spec=decode(encode(template.spec.spec), v1.ResourceClaimSpec))
    made.metadata = ObjectMeta(
        generate_name=f"{meta.name}-{entry}-",
        namespace=meta.namespace,
        labels=dict(said.labels),
        annotations={**said.annotations, POD_CLAIM: entry},
        owner_references=[owner_reference(pod)],
    )
    return made


class ResourceClaimController(Controller):
    """Keys are ``claim/NAMESPACE/NAME`` and ``pod/NAMESPACE/NAME``."""

    name = "resource-claim-controller"
    event_source = "resource_claim"

    def watch(self) -> None:
        self._claims, self._templates = (
            self.informer(v1.ResourceClaim),
            self.informer(v1.ResourceClaimTemplate),
        )
        self._pods = self.informer(core_v1.Pod)
        self._claims.index(
            "pod", lambda claim: [owner.uid] if (owner := controller_of(claim)) else []
        )
        self._made: dict[
            tuple[str, str], v1.ResourceClaim
        ] = {}  # (pod's uid, entry) → made, not seen yet
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._templates.on_change(self._template_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        pod = new or old
        if not pod.spec.resource_claims:
            return
        meta = pod.metadata
        self.queue.add(f"pod/{meta.namespace}/{meta.name}")
        if new is None or is_done(new):
            named = {entry.resource_claim_name for entry in pod.spec.resource_claims}
            named |= {status.resource_claim_name for status in pod.status.resource_claim_statuses}
            for name in named - {None, ""}:
                self.queue.add(f"claim/{meta.namespace}/{name}")
            for claim in self._claims.by("pod", meta.uid):
                self.queue.add(f"claim/{meta.namespace}/{claim.metadata.name}")

    def _claim_changed(self, old: Any, new: Any) -> None:
        meta = (new or old).metadata
        self.queue.add(f"claim/{meta.namespace}/{meta.name}")
        owner = controller_of(new or old)
        if owner is not None:
            self._made.pop((owner.uid, meta.annotations.get(POD_CLAIM, "")), None)  # seen now
            self.queue.add(f"pod/{meta.namespace}/{owner.name}")

    def _template_changed(self, old: Any, new: Any) -> None:
        for pod in self._pods if new is not None and old is None else ():
            names = {entry.resource_claim_template_name for entry in pod.spec.resource_claims}
            if pod.metadata.namespace == new.metadata.namespace and new.metadata.name in names:
                self.queue.add(f"pod/{pod.metadata.namespace}/{pod.metadata.name}")

    async def reconcile(self, key: str) -> float | None:
        kind, _, name = key.partition("/")
        if kind == "claim":
            await self._claim(name)
        elif (pod := self._pods.get(name)) is not None:
            await self._pod(pod)
        else:
            self._forget(name)
        return None

    # --- pods ---

    async def _pod(self, pod: core_v1.Pod) -> None:
        if not is_active(pod):
            return
        statuses: list[dict[str, str]] = []
        known = {s.name: s.resource_claim_name for s in pod.status.resource_claim_statuses}
        for entry in pod.spec.resource_claims:
            if entry.resource_claim_template_name:
                claim = await self._of(pod, entry)
                if known.get(entry.name) != claim.metadata.name:
                    statuses.append({"name": entry.name, "resourceClaimName": claim.metadata.name})
        meta = pod.metadata
        if statuses:
            change = {"metadata": {"uid": meta.uid}, "status": {"resourceClaimStatuses": statuses}}
            await self.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
        if pod.spec.node_name:  # by whoever bound it, who may not know of claims
            await self._reserve(pod)

    async def _of(self, pod: core_v1.Pod, entry: core_v1.PodResourceClaim) -> v1.ResourceClaim:
        """The claim that was made for an entry of a pod, or is now."""
        made_before = self._made.get((pod.metadata.uid, entry.name))
        known: list[v1.ResourceClaim] = self._claims.by("pod", pod.metadata.uid)
        for claim in (*known, *([made_before] if made_before else [])):
            if claim.metadata.annotations.get(POD_CLAIM) == entry.name and belongs_to(claim, pod):
                return claim
        name = entry.resource_claim_template_name or ""
        template = self._templates.get(f"{pod.metadata.namespace}/{name}")
        try:
            if template is None:
                template = await self.client.get(
                    v1.ResourceClaimTemplate, name, pod.metadata.namespace
                )
            made = await self.client.create(from_template(template, pod, entry.name))
        except StatusError as error:
            text = f'PodResourceClaim {entry.name}: resource claim template "{name}": {error}'
            self.context.recorder.record(pod, "Warning", "FailedResourceClaimCreation", text)
            raise
        self._made[pod.metadata.uid, entry.name] = made
        return made

    def _forget(self, pod_name: str) -> None:
        """The pod is gone: what was remembered for it is not needed."""
        namespace, name = split_key(pod_name)
        for key, claim in list(self._made.items()):
            owner = controller_of(claim)
            if owner is not None and (claim.metadata.namespace, owner.name) == (namespace, name):
                del self._made[key]

    async def _reserve(self, pod: core_v1.Pod) -> None:
        try:
            names = [name for _, name in claims_of(pod)]
        except NotMade:
            return  # the status that tells of them comes back as a change of the pod
        for name in names:
            claim = self._claims.get(f"{pod.metadata.namespace}/{name}")
            if claim is None or claim.status.allocation is None or is_reserved_for(claim, pod):
                continue
            if len(claim.status.reserved_for) < MOST_USERS:
                changed = copy.deepcopy(claim)
                changed.status.reserved_for.append(consumer(pod))
                await self.client.update_status(changed)

    # --- claims ---

    async def _claim(self, key: str) -> None:
        claim = self._claims.get(key)
        if claim is None:
            return
        owner = controller_of(claim)
        users = [
            one
            for one in claim.status.reserved_for
            if one.resource != "pods" or await self._uses(claim, one)
        ]
        dropped, leaving = (
            len(users) < len(claim.status.reserved_for),
            bool(claim.metadata.deletion_timestamp),
        )
        emptied = not users and (dropped or leaving)
        if dropped or (emptied and claim.status.allocation is not None):
            changed = copy.deepcopy(claim)
            changed.status.reserved_for = users
            if not users:
                changed.status.allocation, changed.status.devices = None, []
            claim = await self.client.update_status(changed)
        # Not merely for want of devices: the scheduler protects a claim just before it gives it some.
        if emptied and FINALIZER in claim.metadata.finalizers:
            changed = copy.deepcopy(claim)
            changed.metadata.finalizers.remove(FINALIZER)
            claim = await self.client.update(changed)
        if not users and owner is not None and owner.kind == "Pod" and not leaving:
            pod = await self._pod_of(claim.metadata.namespace, owner.name, owner.uid)
            if pod is None or is_done(pod):
                await self._delete(claim)

    async def _uses(self, claim: v1.ResourceClaim, one: v1.ResourceClaimConsumerReference) -> bool:
        pod = await self._pod_of(claim.metadata.namespace, one.name, one.uid)
        return pod is not None and not is_done(pod)

    async def _pod_of(self, namespace: str, name: str, uid: str) -> core_v1.Pod | None:
        """The pod, if it still is the one. What is not known here is asked of the server: it may be new."""
        pod: core_v1.Pod | None = self._pods.get(f"{namespace}/{name}")
        if pod is None or pod.metadata.uid != uid:
            try:
                pod = await self.client.get(core_v1.Pod, name, namespace)
            except StatusError as error:
                if error.code != 404:
                    raise
                return None
        return pod if pod.metadata.uid == uid else None

    async def _delete(self, claim: v1.ResourceClaim) -> None:
        meta = claim.metadata
        try:
            await self.client.delete(v1.ResourceClaim, meta.name, meta.namespace, uid=meta.uid)
        except StatusError as error:
            if error.code not in (404, 409):
                raise
