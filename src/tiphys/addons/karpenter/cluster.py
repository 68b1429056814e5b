"""The cluster as informers show it, as one value to decide upon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tiphys.addons._cloud.catalog import Catalog
from tiphys.addons._cloud.sandboxes import CONTAINERD, fits, room
from tiphys.addons.karpenter import names
from tiphys.addons.karpenter.claims import is_allowed
from tiphys.addons.karpenter.offers import Offer, Option, left_of, offer_of
from tiphys.addons.karpenter.overlays import Overlaid, overlaid
from tiphys.addons.karpenter.podstates import needs_node
from tiphys.addons.karpenter.state import StateNode, World, join, used
from tiphys.addons.karpenter.types import NodeClaim, NodeOverlay, NodePool, TiphysNodeClass
from tiphys.api import apps_v1, core_v1, policy_v1, storage_v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.informer import Informers
from tiphys.machinery import conditions
from tiphys.scheduler.default_selector import DefaultSelector
from tiphys.scheduler.plugins.registry import Listers
from tiphys.scheduler.plugins.volume_lister import VolumeLister
from tiphys.scheduler.podinfo import PodInfo

_SCARCE = 180.0  # seconds for which an offering without capacity is not requested again


class Cluster:
    """`nominated` is until when pods are expected on a node, `marked` which claims are being
    disrupted, with the reason, `scarce` until when an offering is not requested. `relaxes` is the
    world's."""

    def __init__(self, informers: Informers, catalog: Catalog, relaxes: bool = False) -> None:
        self.catalog = catalog
        self._relaxes = relaxes
        self.nodes = informers.of(core_v1.Node)
        self.pods = informers.of(core_v1.Pod)
        self.claims = informers.of(NodeClaim)
        self.pools = informers.of(NodePool)
        self.classes = informers.of(TiphysNodeClass)
        self.attachments = informers.of(storage_v1.VolumeAttachment)
        self._daemon_sets = informers.of(apps_v1.DaemonSet)
        self._budgets = informers.of(policy_v1.PodDisruptionBudget)
        self._namespaces = informers.of(core_v1.Namespace)
        claims = informers.of(core_v1.PersistentVolumeClaim)
        volumes = informers.of(core_v1.PersistentVolume)
        lister = VolumeLister(
            claim=claims.get,
            volume=volumes.get,
            storage_class=informers.of(storage_v1.StorageClass).get,
            csi_node=informers.of(storage_v1.CSINode).get,
            csi_driver=informers.of(storage_v1.CSIDriver).get,
            volumes=lambda: volumes,
            capacities=lambda: informers.of(storage_v1.CSIStorageCapacity),
        )
        informers.of(storage_v1.CSIStorageCapacity)
        selector = DefaultSelector(informers).selector_of
        self._listers = Listers(volumes=lister, default_selector=selector)
        self.pods.index("node", lambda pod: [pod.spec.node_name] if pod.spec.node_name else [])
        self.nodes.index("machine", lambda node: [node.spec.provider_id])
        self.claims.index("machine", lambda claim: [claim.status.provider_id])
        self.nominated: dict[str, float] = {}
        self.marked: dict[str, str] = {}
        self.scarce: dict[tuple[str, str, str], float] = {}
        self.overlays = informers.of(NodeOverlay)
        self._offers: dict[str, tuple[object, Offer]] = {}  # by pool, with its version
        self._overlaid: tuple[object, Overlaid] = ((), Overlaid())  # with the versions

    def world(self, now: float) -> World:
        """As it is now."""
        states = self.states(now)
        pools = {pool.name: pool for pool in self.pools if not pool.metadata.deletion_timestamp}
        return World(
            now,
            self.catalog,
            states,
            pools,
            list(self.offers(states, now)),
            [pod for pod in self.pods if needs_node(pod)],
            [_daemon(each) for each in self._daemon_sets],
            list(self._budgets),
            {space.metadata.name: space.metadata.labels for space in self._namespaces},
            self._listers,
            self._relaxes,
            self.overlaid().catalogs,
        )

    def states(self, now: float) -> list[StateNode]:
        states = join(self.nodes, self.claims, (pod for pod in self.pods if pod.spec.node_name))
        for state in states:
            if state.claim is not None:
                state.marked = state.claim.name in self.marked
                state.nominated = self.nominated.get(state.claim.name, 0.0) > now
        return states

    def offers(self, states: list[StateNode], now: float) -> Iterator[Offer]:
        """Of pools that are ready. What could not be had a moment ago is left out."""
        sums = used(states)
        for pool in self.pools:
            class_ = self.class_of(pool)
            if pool.metadata.deletion_timestamp or class_ is None or not is_ready(pool):
                continue
            offer = self._offer(pool)
            options = [o for o in offer.options if self.can_be_had(o, class_, now)]
            left = left_of(pool, sums.get(pool.name, {}))
            yield replace(offer, options=options, left=left)

    def _offer(self, pool: NodePool) -> Offer:
        """What a pool allows, worked out once for each of its versions."""
        catalog = self.catalog_of(pool.name)
        version = (pool.metadata.resource_version, id(catalog))
        known = self._offers.get(pool.name)
        if known is not None and known[0] == version:
            return known[1]
        offer = offer_of(pool, catalog.types, catalog.region, {})
        self._offers[pool.name] = (version, offer)
        return offer

    def overlaid(self) -> Overlaid:
        """What overlays make of the cloud's types, worked out once for their versions."""
        overlays = [each for each in self.overlays if not each.metadata.deletion_timestamp]
        if not overlays:
            return Overlaid()
        both = (*overlays, *self.pools)
        versions = sorted((each.metadata.uid, each.metadata.generation or 0) for each in both)
        if self._overlaid[0] != versions:
            self._overlaid = (versions, overlaid(overlays, self.pools, self.catalog))
        return self._overlaid[1]

    def catalog_of(self, pool: str) -> Catalog:
        """What machines of a pool are taken to cost and have."""
        return self.overlaid().catalogs.get(pool, self.catalog)

    def can_be_had(self, option: Option, class_: TiphysNodeClass, now: float) -> bool:
        type_, offering = option
        key = (type_.name, offering.zone, offering.capacity_type)
        if class_.spec.runtime == CONTAINERD and not fits(
            self.catalog.by_name[type_.name], *room()
        ):
            return False
        return self.scarce.get(key, 0.0) <= now and is_allowed(class_, option)

    @property
    def is_settled(self) -> bool:
        """Whether every claim has its machine: what was ordered a moment ago could not be counted
        on, and would be ordered again."""
        return not any(is_on_order(claim) for claim in self.claims)

    def note_scarce(self, key: tuple[str, str, str], now: float) -> None:
        self.scarce[key] = now + _SCARCE

    def class_of(self, owner: NodePool | NodeClaim) -> TiphysNodeClass | None:
        """The class of this cloud that a pool or claim names; None for others."""
        if isinstance(owner, NodePool):
            reference = owner.spec.template.spec.node_class_ref
            if not _is_ours(reference.group, reference.kind):
                return None
            return self.classes.get(reference.name)
        own = owner.spec.node_class_ref
        return self.classes.get(own.name) if _is_ours(own.group, own.kind) else None

    def node_of(self, claim: NodeClaim) -> core_v1.Node | None:
        if not claim.status.provider_id:
            return None
        nodes = self.nodes.by("machine", claim.status.provider_id)
        return nodes[0] if nodes else None

    def claim_of(self, node: core_v1.Node) -> NodeClaim | None:
        if not node.spec.provider_id:
            return None
        claims = self.claims.by("machine", node.spec.provider_id)
        return claims[0] if claims else None

    def note_node(self, written: core_v1.Node) -> None:
        """A node as a write has returned it, unless it has gone since."""
        if self.nodes.get(written.metadata.name) is not None:
            self.nodes.note_written(written)

    def pods_on(self, node: str) -> list[core_v1.Pod]:
        return self.pods.by("node", node)


def _is_ours(group: str, kind: str) -> bool:
    return (group, kind) == (names.OWN_GROUP, "TiphysNodeClass")


def is_on_order(claim: NodeClaim) -> bool:
    """Whether a claim's machine is still to come. None comes for a class that is not ours."""
    if claim.metadata.deletion_timestamp or claim.status.provider_id:
        return False
    launched = conditions.find(claim.status.conditions, names.LAUNCHED)
    return launched is None or launched.reason != "UnsupportedNodeClass"


def is_ready(pool: NodePool) -> bool:
    return conditions.is_true(pool.status.conditions, names.READY)


def _daemon(owner: apps_v1.DaemonSet) -> PodInfo:
    """A pod of a daemon set, as its controller would make one."""
    template = owner.spec.template
    meta = ObjectMeta(
        name=f"{owner.metadata.name}-x",
        namespace=owner.metadata.namespace,
        uid=f"daemon-{owner.metadata.uid}",
        labels=template.metadata.labels,
        owner_references=[
            OwnerReference(
                api_version="apps/v1",
                kind="DaemonSet",
                name=owner.metadata.name,
                uid=owner.metadata.uid,
                controller=True,
            )
        ],
    )
    return PodInfo(core_v1.Pod(metadata=meta, spec=template.spec))
