"""Claims for devices: created from templates for the pods that want them, and emptied when they
are not in use any more."""

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
    special_claim_of,
)
from tiphys.machinery.errors import StatusError
from tiphys.machinery.finished import pod_finished

Claim = v1.ResourceClaim


# --- the core: pure ---


def is_done(pod: core_v1.Pod) -> bool:
    """Whether a pod runs no more, or never will: what it had may be given to others."""
    if pod_finished(pod):
        return True
    return bool(pod.metadata.deletion_timestamp) and not pod.spec.node_name


def from_template(template: v1.ResourceClaimTemplate, pod: core_v1.Pod, entry: str) -> Claim:
    """The claim of a pod for an entry that names a template."""
    template_meta = template.spec.metadata
    meta = ObjectMeta(
        generate_name=f"{pod.metadata.name}-{entry}-",
        namespace=pod.metadata.namespace,
        labels=dict(template_meta.labels),
        annotations={**template_meta.annotations, POD_CLAIM: entry},
        owner_references=[owner_reference(pod)],
    )
    spec = decode(encode(template.spec.spec), v1.ResourceClaimSpec)
    return Claim(metadata=meta, spec=spec)


# --- the shell ---


class ResourceClaimController(Controller):
    """Keys are ``claim/NAMESPACE/NAME`` and ``pod/NAMESPACE/NAME``."""

    name = "resource-claim-controller"
    event_source = "resource_claim"

    def watch(self) -> None:
        self._claims = self.informer(Claim)
        self._templates = self.informer(v1.ResourceClaimTemplate)
        self._pods = self.informer(core_v1.Pod)
        self._claims.index("pod", _owner_uid_index)
        # Claims that the informer may not show yet, by the pod's uid and the entry.
        self._created: dict[tuple[str, str], Claim] = {}
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._templates.on_change(self._template_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        pod = new or old
        special = special_claim_of(pod)
        if not pod.spec.resource_claims and not special:
            return
        meta = pod.metadata
        self.queue.add(f"pod/{meta.namespace}/{meta.name}")
        if new is not None and not is_done(new):
            return
        names = {entry.resource_claim_name for entry in pod.spec.resource_claims}
        names |= {status.resource_claim_name for status in pod.status.resource_claim_statuses}
        names |= {claim.metadata.name for claim in self._claims.by("pod", meta.uid)}
        names.add(special)
        for name in names - {None, ""}:
            self.queue.add(f"claim/{meta.namespace}/{name}")

    def _claim_changed(self, old: Any, new: Any) -> None:
        meta = (new or old).metadata
        self.queue.add(f"claim/{meta.namespace}/{meta.name}")
        owner = controller_of(new or old)
        if owner is not None:
            self._created.pop((owner.uid, meta.annotations.get(POD_CLAIM, "")), None)
            self.queue.add(f"pod/{meta.namespace}/{owner.name}")

    def _template_changed(self, old: Any, new: Any) -> None:
        """Pods may have waited for a new template."""
        if new is None or old is not None:
            return
        for pod in self._pods:
            if pod.metadata.namespace != new.metadata.namespace:
                continue
            names = {entry.resource_claim_template_name for entry in pod.spec.resource_claims}
            if new.metadata.name in names:
                self.queue.add(f"pod/{pod.metadata.namespace}/{pod.metadata.name}")

    async def reconcile(self, key: str) -> float | None:
        kind, _, name = key.partition("/")
        if kind == "claim":
            claim = self._claims.get(name)
            if claim is not None:
                await self._reconcile_claim(claim)
            return None
        pod = self._pods.get(name)
        if pod is None:
            self._forget(name)
        elif is_active(pod):
            await self._reconcile_pod(pod)
        return None

    # --- pods ---

    async def _reconcile_pod(self, pod: core_v1.Pod) -> None:
        statuses: list[dict[str, str]] = []
        known = {s.name: s.resource_claim_name for s in pod.status.resource_claim_statuses}
        for entry in pod.spec.resource_claims:
            if not entry.resource_claim_template_name:
                continue
            claim = await self._claim_for(pod, entry)
            name = claim.metadata.name
            if known.get(entry.name) != name:
                statuses.append({"name": entry.name, "resourceClaimName": name})
        if statuses:
            meta = pod.metadata
            change = {"metadata": {"uid": meta.uid}, "status": {"resourceClaimStatuses": statuses}}
            await self.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
        if pod.spec.node_name:
            # Whoever bound it may not know of claims: the scheduler reserves before it binds.
            await self._reserve(pod)

    async def _claim_for(self, pod: core_v1.Pod, entry: core_v1.PodResourceClaim) -> Claim:
        """The claim of an entry of a pod, which is created if need be."""
        created = self._created.get((pod.metadata.uid, entry.name))
        claims: list[Claim] = list(self._claims.by("pod", pod.metadata.uid))
        if created is not None:
            claims.append(created)
        for claim in claims:
            if claim.metadata.annotations.get(POD_CLAIM) == entry.name and belongs_to(claim, pod):
                return claim
        name = entry.resource_claim_template_name or ""
        try:
            template = await self._template(pod.metadata.namespace, name)
            created = await self.client.create(from_template(template, pod, entry.name))
        except StatusError as error:
            message = f'PodResourceClaim {entry.name}: resource claim template "{name}": {error}'
            self.event(pod, "Warning", "FailedResourceClaimCreation", message)
            raise
        self._created[pod.metadata.uid, entry.name] = created
        return created

    async def _template(self, namespace: str, name: str) -> v1.ResourceClaimTemplate:
        template: v1.ResourceClaimTemplate | None = self._templates.get(f"{namespace}/{name}")
        if template is not None:
            return template
        return await self.client.get(v1.ResourceClaimTemplate, name, namespace)

    def _forget(self, pod_key: str) -> None:
        """The pod is gone: what was remembered for it is not needed."""
        namespace, name = split_key(pod_key)
        for key, claim in list(self._created.items()):
            owner = controller_of(claim)
            if owner is not None and (claim.metadata.namespace, owner.name) == (namespace, name):
                del self._created[key]

    async def _reserve(self, pod: core_v1.Pod) -> None:
        """Reserves the pod's claims that are allocated, as far as there is room for another
        user."""
        try:
            names = [name for _, name in claims_of(pod)]
        except NotMade:
            return  # the status that names them comes back as a change of the pod
        for name in names:
            claim = self._claims.get(f"{pod.metadata.namespace}/{name}")
            if claim is None or claim.status.allocation is None or is_reserved_for(claim, pod):
                continue
            if len(claim.status.reserved_for) < MOST_USERS:
                changed = copy.deepcopy(claim)
                changed.status.reserved_for.append(consumer(pod))
                await self.client.update_status(changed)

    # --- claims ---

    async def _reconcile_claim(self, claim: Claim) -> None:
        users = [
            reference
            for reference in claim.status.reserved_for
            if await self._is_user(claim, reference)
        ]
        has_lost_users = len(users) < len(claim.status.reserved_for)
        is_leaving = bool(claim.metadata.deletion_timestamp)
        is_emptied = not users and (has_lost_users or is_leaving)
        if has_lost_users or (is_emptied and claim.status.allocation is not None):
            changed = copy.deepcopy(claim)
            changed.status.reserved_for = users
            if not users:
                changed.status.allocation = None
                changed.status.devices = []
            claim = await self.client.update_status(changed)
        # A claim without devices is not enough to take its protection away: the scheduler protects
        # a claim just before it gives it some.
        if is_emptied and FINALIZER in claim.metadata.finalizers:
            changed = copy.deepcopy(claim)
            changed.metadata.finalizers.remove(FINALIZER)
            claim = await self.client.update(changed)
        if not users and not is_leaving and await self._has_served(claim):
            await self.delete(claim)

    async def _is_user(self, claim: Claim, reference: v1.ResourceClaimConsumerReference) -> bool:
        if reference.resource != "pods":
            return True
        pod = await self._pod(claim.metadata.namespace, reference.name, reference.uid)
        return pod is not None and not is_done(pod)

    async def _has_served(self, claim: Claim) -> bool:
        """Whether a claim was created for a pod that needs it no longer."""
        owner = controller_of(claim)
        if owner is None or owner.kind != "Pod":
            return False
        pod = await self._pod(claim.metadata.namespace, owner.name, owner.uid)
        return pod is None or is_done(pod)

    async def _pod(self, namespace: str, name: str, uid: str) -> core_v1.Pod | None:
        """The pod, if it still is that one. One that is not known here is asked of the server: it
        may be new."""
        pod: core_v1.Pod | None = self._pods.get(f"{namespace}/{name}")
        if pod is None or pod.metadata.uid != uid:
            pod = await self.live(core_v1.Pod, name, namespace)
        return pod if pod is not None and pod.metadata.uid == uid else None


def _owner_uid_index(claim: Any) -> list[str]:
    owner = controller_of(claim)
    return [owner.uid] if owner is not None else []
