"""Deployments: a replica set for each revision of the template, scaled against each other step by step."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import apps_v1
from tiphys.api.apps_v1 import Deployment, ReplicaSet
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import MERGE
from tiphys.controllers.claiming import is_still_there
from tiphys.controllers.pods import condition, owner_reference
from tiphys.controllers.shell import Controller, controller_of, owner_index
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.names import safe_encode
from tiphys.machinery.selectors import from_label_selector

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED, MAXIMUM = (
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
)
_NOT_COPIED = frozenset(
    (
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
    )
)


@dataclass
class Plan:
    """New sizes of replica sets, by uid. The new replica set comes first."""

    scale: dict[str, int] = field(default_factory=dict)


# --- the core: pure ---


def template_hash(deployment: Deployment) -> str:
    digest = hashlib.sha256(
        encode(deployment.spec.template) + str(deployment.status.collision_count or "").encode()
    )
    return safe_encode(str(int.from_bytes(digest.digest()[:4], "big")))


def same_template(left: Any, right: Any) -> bool:
    def bare(template: Any) -> Any:
        labels = {k: v for k, v in template.metadata.labels.items() if k != HASH}
        return labels, template.metadata.annotations, template.spec

    return bool(bare(left) == bare(right))


def resolve(value: Any, total: int, up: bool) -> int:
    """A count, or a percentage of the total rounded up or down."""
    if isinstance(value, str):
        percent = int(value.rstrip("%"))
        return -(-percent * total // 100) if up else percent * total // 100
    return int(value or 0)


def bounds(deployment: Deployment) -> tuple[int, int]:
    """(surge, unavailable) in pods; never both zero, or nothing could ever move."""
    rolling, replicas = deployment.spec.strategy.rolling_update, deployment.spec.replicas or 0
    if deployment.spec.strategy.type != "RollingUpdate" or rolling is None:
        return 0, replicas if deployment.spec.strategy.type == "Recreate" else 0
    surge, unavailable = (
        resolve(rolling.max_surge, replicas, True),
        resolve(rolling.max_unavailable, replicas, False),
    )
    return surge, min(
        unavailable if surge or unavailable else 1, replicas
    ) if replicas else unavailable


def size(replica_set: ReplicaSet) -> int:
    return replica_set.spec.replicas or 0


def new_size(deployment: Deployment, new: ReplicaSet, everything: list[ReplicaSet]) -> int:
    """How large the new replica set may be now."""
    wanted = deployment.spec.replicas or 0
    if deployment.spec.strategy.type == "Recreate" or size(new) >= wanted:
        return wanted
    room = wanted + bounds(deployment)[0] - sum(map(size, everything))
    return size(new) + max(0, min(room, wanted - size(new)))


def shrink_old(deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]) -> dict[str, int]:
    """Smaller sizes of old replica sets that keep enough pods available: what is broken goes first."""
    wanted, everything = deployment.spec.replicas or 0, [new, *old]
    least = wanted - bounds(deployment)[1]
    room = sum(map(size, everything)) - least - (size(new) - new.status.available_replicas)
    if room <= 0:
        return {}
    sizes = {rs.metadata.uid: size(rs) for rs in old}
    ordered = sorted(old, key=lambda rs: (rs.metadata.creation_timestamp or "", rs.metadata.name))
    for rs in ordered:
        broken = min(room, max(0, sizes[rs.metadata.uid] - rs.status.available_replicas))
        sizes[rs.metadata.uid] -= broken
        room -= broken
    spare = sum(rs.status.available_replicas for rs in everything) - least
    for rs in ordered:
        step = max(0, min(spare, sizes[rs.metadata.uid]))
        if sizes[rs.metadata.uid] <= rs.status.available_replicas:
            sizes[rs.metadata.uid] -= step
            spare -= step
    return {
        uid: n
        for uid, n in sizes.items()
        if n != next(size(rs) for rs in old if rs.metadata.uid == uid)
    }


def proportional(deployment: Deployment, sets: list[ReplicaSet]) -> dict[str, int]:
    """Sizes after the deployment itself was scaled in the middle of a rollout: each set keeps its share."""
    active = [rs for rs in sets if size(rs)]
    wanted = deployment.spec.replicas or 0
    if len(active) <= 1:
        chosen = active or sorted(sets, key=lambda rs: rs.metadata.creation_timestamp or "")[-1:]
        return {rs.metadata.uid: wanted for rs in chosen if size(rs) != wanted}
    allowed = wanted + bounds(deployment)[0] if wanted else 0
    total = sum(map(size, active))
    left = allowed - total
    growing = left > 0
    # The largest first; of equals the newest when there is something to gain, the oldest when something goes.
    ordered = sorted(
        active,
        key=lambda rs: (rs.metadata.creation_timestamp or "", rs.metadata.name),
        reverse=growing,
    )
    ordered.sort(key=lambda rs: -size(rs))
    result = {}
    for rs in ordered:
        before = int(rs.metadata.annotations.get(MAXIMUM) or total) or total
        share = round(size(rs) * allowed / before) - size(rs)
        share = max(0, min(share, left)) if growing else min(0, max(share, left))
        result[rs.metadata.uid] = max(0, size(rs) + share)
        left -= share
    result[ordered[0].metadata.uid] = max(0, result[ordered[0].metadata.uid] + left)
    return {
        uid: n
        for uid, n in result.items()
        if n != next(size(rs) for rs in active if rs.metadata.uid == uid)
    }


def is_scaling(deployment: Deployment, sets: list[ReplicaSet]) -> bool:
    wanted = str(deployment.spec.replicas or 0)
    return any(
        size(rs) and rs.metadata.annotations.get(DESIRED) not in (None, wanted) for rs in sets
    )


def complete(deployment: Deployment, status: apps_v1.DeploymentStatus) -> bool:
    wanted = deployment.spec.replicas or 0
    return (
        status.updated_replicas == wanted == status.replicas == status.available_replicas
        and status.observed_generation >= deployment.metadata.generation
    )


# --- the shell ---


class DeploymentController(Controller):
    name = "deployment"
    workers = 32  # each waits for the server most of the time

    def watch(self) -> None:
        self._deployments, self._sets = self.informer(Deployment), self.informer(ReplicaSet)
        self._sets.index("owner", owner_index)
        self._deployments.on_change(self.enqueue)
        self._sets.on_change(self.enqueue_owner("Deployment"))

    async def reconcile(self, key: str) -> float | None:
        deployment = self._deployments.get(key)
        if deployment is None:
            return None
        deployment = copy.copy(deployment)
        deployment.metadata = copy.deepcopy(deployment.metadata)
        deployment.status = copy.deepcopy(deployment.status)
        sets = await self._claim(deployment)
        if deployment.metadata.deletion_timestamp:
            return await self._sync_status(deployment, sets, None)
        self._note_pause(deployment)
        new = next(
            (
                rs
                for rs in sorted(sets, key=lambda r: r.metadata.creation_timestamp or "")
                if same_template(rs.spec.template, deployment.spec.template)
            ),
            None,
        )
        if deployment.spec.paused or is_scaling(deployment, sets):
            if is_scaling(deployment, sets):
                await self._scale_all(deployment, sets, proportional(deployment, sets))
            return await self._sync_status(deployment, sets, new)
        return await self._roll(deployment, sets, new)

    async def _claim(self, deployment: Deployment) -> list[ReplicaSet]:
        """The deployment's replica sets: those that match and are nobody's become its own, those that match no longer are
        let go."""
        mine = self._sets.by("owner", deployment.metadata.uid)
        selector, namespace = (
            from_label_selector(deployment.spec.selector),
            deployment.metadata.namespace,
        )
        if deployment.metadata.deletion_timestamp or selector is None:
            return mine
        found = []
        for rs in mine:
            if selector.matches(rs.metadata.labels):
                found.append(rs)
            else:
                others = [
                    to_builtins(o)
                    for o in rs.metadata.owner_references
                    if o.uid != deployment.metadata.uid
                ]
                await self._own(rs, others)
        orphans = [
            rs
            for rs in self._sets.by("owner", f"orphan/{namespace}")
            if selector.matches(rs.metadata.labels) and not rs.metadata.deletion_timestamp
        ]
        if orphans and await is_still_there(self.client, deployment):
            owners = [to_builtins(owner_reference(deployment))]
            found += [
                await self._own(rs, [*to_builtins(rs.metadata.owner_references), *owners])
                for rs in orphans
            ]
        return found

    async def _own(self, rs: ReplicaSet, owners: list[Any]) -> ReplicaSet:
        meta = rs.metadata
        change = {
            "metadata": {
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
                "ownerReferences": owners or None,
            }
        }
        return await self.client.patch(ReplicaSet, meta.name, change, meta.namespace, media=MERGE)

    async def _roll(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> float | None:
        old = [rs for rs in sets if rs is not new]
        recreate = deployment.spec.strategy.type == "Recreate"
        if recreate and any(size(rs) for rs in old):
            await self._scale_all(deployment, sets, {rs.metadata.uid: 0 for rs in old if size(rs)})
            return await self._sync_status(deployment, sets, new)
        if (
            recreate
            and any(rs.status.replicas or rs.status.terminating_replicas for rs in old)
            and (new is None or not size(new))
        ):
            return await self._sync_status(deployment, sets, new)
        if new is None:
            new = await self._make(deployment, old)
            sets = [*old, new]
        else:
            new = await self._revise(deployment, new, old)
            sets = [*old, new]
        wanted = new_size(deployment, new, sets)
        if wanted != size(new):
            await self._scale_all(deployment, sets, {new.metadata.uid: wanted})
        elif smaller := shrink_old(deployment, new, old):
            await self._scale_all(deployment, sets, smaller)
        elif complete(deployment, self._status(deployment, sets, new)):
            await self._clean_up(deployment, old)
        return await self._sync_status(deployment, sets, new)

    async def _make(self, deployment: Deployment, old: list[ReplicaSet]) -> ReplicaSet:
        digest = template_hash(deployment)
        template = decode(encode(deployment.spec.template), type(deployment.spec.template))
        template.metadata.labels[HASH] = digest
        meta = deployment.metadata
        selector = LabelSelector(match_expressions=list(deployment.spec.selector.match_expressions))  # type: ignore[union-attr]
        selector.match_labels = {**deployment.spec.selector.match_labels, HASH: digest}  # type: ignore[union-attr]
        new = ReplicaSet(
            metadata=ObjectMeta(
                name=f"{meta.name}-{digest}",
                namespace=meta.namespace,
                labels=dict(template.metadata.labels),
                owner_references=[owner_reference(deployment)],
            )
        )
        new.spec = apps_v1.ReplicaSetSpec(
            selector=selector,
            template=template,
            min_ready_seconds=deployment.spec.min_ready_seconds,
        )
        new.spec.replicas = new_size(
            deployment, apps_v1.ReplicaSet(spec=apps_v1.ReplicaSetSpec(replicas=0)), old
        )
        self._annotate(deployment, new, self._revision(old) + 1)
        try:
            made = await self.client.create(new)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                self._progressing(deployment, "False", "ReplicaSetCreateError", str(error))
                raise
            return await self._collision(deployment, new)
        if made.spec.replicas:
            self._say_scaled(deployment, made, 0, size(made))
        self._set_revision(deployment, made)
        self._progressing(
            deployment,
            "True",
            "NewReplicaSetCreated",
            f'Created new replica set "{made.metadata.name}"',
        )
        return made

    async def _collision(self, deployment: Deployment, new: ReplicaSet) -> ReplicaSet:
        """The name is taken: by our own replica set that the informer has not shown yet, or by a stranger."""
        standing = await self.client.get(ReplicaSet, new.metadata.name, new.metadata.namespace)
        owner = controller_of(standing)
        if (
            owner is not None
            and owner.uid == deployment.metadata.uid
            and same_template(standing.spec.template, deployment.spec.template)
        ):
            return standing
        deployment.status.collision_count = (deployment.status.collision_count or 0) + 1
        await self.client.update_status(deployment)
        raise StatusError(_conflict_status(new.metadata.name))

    @staticmethod
    def _revision(sets: list[ReplicaSet]) -> int:
        return max((int(rs.metadata.annotations.get(REVISION) or 0) for rs in sets), default=0)

    @staticmethod
    def _annotate(deployment: Deployment, rs: ReplicaSet, revision: int) -> bool:
        """Writes the deployment's annotations and the rollout's numbers onto a replica set. True if any changed."""
        before = dict(rs.metadata.annotations)
        notes = rs.metadata.annotations
        notes.update(
            {k: v for k, v in deployment.metadata.annotations.items() if k not in _NOT_COPIED}
        )
        had = notes.get(REVISION)
        if had is None or int(had) < revision:
            if had is not None:
                notes[HISTORY] = ",".join(part for part in (notes.get(HISTORY, ""), had) if part)
            notes[REVISION] = str(revision)
        wanted = deployment.spec.replicas or 0
        notes[DESIRED], notes[MAXIMUM] = str(wanted), str(wanted + bounds(deployment)[0])
        return notes != before

    async def _revise(
        self, deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]
    ) -> ReplicaSet:
        """An existing replica set is the new one (again): it gets the next revision number."""
        copied = decode(encode(new), ReplicaSet)
        changed = self._annotate(deployment, copied, self._revision(old) + 1)
        if copied.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
            copied.spec.min_ready_seconds, changed = deployment.spec.min_ready_seconds, True
        if changed:
            new = await self.client.update(copied)
        self._set_revision(deployment, new)
        if condition(deployment, "Progressing") is None:
            self._progressing(
                deployment,
                "True",
                "FoundNewReplicaSet",
                f'Found new replica set "{new.metadata.name}"',
            )
        return new

    @staticmethod
    def _set_revision(deployment: Deployment, new: ReplicaSet) -> None:
        """Notes the revision; it is written with the status, whose path takes annotations, too."""
        deployment.metadata.annotations[REVISION] = new.metadata.annotations.get(REVISION, "")

    async def _scale_all(
        self, deployment: Deployment, sets: list[ReplicaSet], sizes: dict[str, int]
    ) -> None:
        for index, rs in enumerate(sets):
            wanted = sizes.get(rs.metadata.uid, size(rs))
            copied = decode(encode(rs), ReplicaSet)
            changed = wanted != size(rs)
            if not changed and (
                not size(rs)
                or rs.metadata.annotations.get(DESIRED) == str(deployment.spec.replicas or 0)
            ):
                continue
            self._annotate(deployment, copied, 0)
            copied.spec.replicas = wanted
            sets[index] = await self.client.update(copied)
            if changed:
                self._say_scaled(deployment, rs, size(rs), wanted)

    def _say_scaled(self, deployment: Deployment, rs: ReplicaSet, before: int, after: int) -> None:
        word = "up" if after > before else "down"
        text = f"Scaled {word} replica set {rs.metadata.name} from {before} to {after}"
        self.context.recorder.record(deployment, "Normal", "ScalingReplicaSet", text)

    async def _clean_up(self, deployment: Deployment, old: list[ReplicaSet]) -> None:
        limit = deployment.spec.revision_history_limit
        idle = [
            rs
            for rs in old
            if not size(rs) and not rs.status.replicas and not rs.metadata.deletion_timestamp
        ]
        if limit is None or len(idle) <= limit:
            return
        idle.sort(key=lambda rs: int(rs.metadata.annotations.get(REVISION) or 0))
        for rs in idle[: len(idle) - limit]:
            await self.client.delete(ReplicaSet, rs.metadata.name, rs.metadata.namespace)

    # --- status ---

    def _status(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> apps_v1.DeploymentStatus:
        status = copy.deepcopy(deployment.status)
        status.observed_generation = deployment.metadata.generation
        status.replicas = sum(rs.status.replicas for rs in sets)
        status.updated_replicas = new.status.replicas if new else 0
        status.ready_replicas = sum(rs.status.ready_replicas for rs in sets)
        status.available_replicas = sum(rs.status.available_replicas for rs in sets)
        total = sum(map(size, sets))
        status.unavailable_replicas = max(0, total - status.available_replicas)
        terminating = [
            rs.status.terminating_replicas
            for rs in sets
            if rs.status.terminating_replicas is not None
        ]
        status.terminating_replicas = (
            sum(terminating) if terminating else status.terminating_replicas
        )
        return status

    async def _sync_status(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> float | None:
        standing = self._deployments.get(
            f"{deployment.metadata.namespace}/{deployment.metadata.name}"
        )
        status = self._status(deployment, sets, new)
        before, deployment.status = deployment.status, status
        enough = (
            status.available_replicas >= (deployment.spec.replicas or 0) - bounds(deployment)[1]
        )
        self._condition(
            deployment,
            "Available",
            "True" if enough else "False",
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        )
        wait = self._progress(deployment, before, new)
        self._note_failure(deployment, sets, new)
        noted = (
            standing is not None
            and standing.metadata.annotations == deployment.metadata.annotations
        )
        if standing is None or not noted or status != standing.status:
            await self.client.update_status(deployment)
        return wait

    def _progress(
        self, deployment: Deployment, before: apps_v1.DeploymentStatus, new: ReplicaSet | None
    ) -> float | None:
        """Keeps the Progressing condition; returns when to look at the deadline again."""
        deadline, status = deployment.spec.progress_deadline_seconds, deployment.status
        if deadline is None or deadline == 2147483647 or deployment.spec.paused:
            return None
        name = (
            f'ReplicaSet "{new.metadata.name}"'
            if new
            else f'Deployment "{deployment.metadata.name}"'
        )
        standing = condition(deployment, "Progressing")
        if complete(deployment, status):
            self._progressing(
                deployment, "True", "NewReplicaSetAvailable", f"{name} has successfully progressed."
            )
            return None
        moved = (
            status.updated_replicas > before.updated_replicas
            or status.ready_replicas > before.ready_replicas
            or status.available_replicas > before.available_replicas
            or status.replicas - status.updated_replicas < before.replicas - before.updated_replicas
        )
        if standing is None or moved or standing.reason == "NewReplicaSetAvailable":
            self._progressing(
                deployment, "True", "ReplicaSetUpdated", f"{name} is progressing.", touch=True
            )
            return deadline + 1.0
        if standing.reason == "ProgressDeadlineExceeded":
            return None
        left = timestamps.parse(standing.last_update_time) + deadline - self.context.now()
        if left < 0:
            self._progressing(
                deployment,
                "False",
                "ProgressDeadlineExceeded",
                f"{name} has timed out progressing.",
            )
            return None
        return left + 1.0

    def _note_pause(self, deployment: Deployment) -> None:
        """A rollout that is paused makes no progress and is not late; resumed, it has its time anew."""
        standing = condition(deployment, "Progressing")
        if deployment.spec.progress_deadline_seconds is None or (
            standing is not None and standing.reason == "ProgressDeadlineExceeded"
        ):
            return
        paused = standing is not None and standing.reason == "DeploymentPaused"
        if deployment.spec.paused and not paused:
            self._progressing(deployment, "Unknown", "DeploymentPaused", "Deployment is paused")
        elif paused and not deployment.spec.paused:
            self._progressing(deployment, "Unknown", "DeploymentResumed", "Deployment is resumed")

    def _note_failure(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> None:
        """What keeps a replica set from making its pods keeps the deployment: the new set's trouble first."""
        ordered = [*([new] if new is not None else []), *sets]
        failure = next(
            (c for rs in ordered if (c := condition(rs, "ReplicaFailure")) is not None), None
        )
        if failure is not None:
            self._condition(
                deployment, "ReplicaFailure", failure.status, failure.reason, failure.message
            )
        elif condition(deployment, "ReplicaFailure") is not None:
            conditions = deployment.status.conditions
            deployment.status.conditions = [c for c in conditions if c.type != "ReplicaFailure"]

    def _progressing(
        self, deployment: Deployment, value: str, reason: str, message: str, touch: bool = False
    ) -> None:
        self._condition(deployment, "Progressing", value, reason, message, touch)

    def _condition(
        self,
        deployment: Deployment,
        name: str,
        value: str,
        reason: str,
        message: str,
        touch: bool = False,
    ) -> None:
        standing = condition(deployment, name)
        if (
            standing is not None
            and (standing.status, standing.reason) == (value, reason)
            and not touch
        ):
            return
        stamp = timestamps.rfc3339(self.context.now())
        since = (
            standing.last_transition_time
            if standing is not None and standing.status == value
            else stamp
        )
        made = apps_v1.DeploymentCondition(
            type=name,
            status=value,
            reason=reason,
            message=message,
            last_update_time=stamp,
            last_transition_time=since,
        )
        deployment.status.conditions = [
            c for c in deployment.status.conditions if c.type != name
        ] + [made]


def _conflict_status(name: str) -> Any:
    from tiphys.machinery.errors import already_exists

    return already_exists("replicasets.apps", name).status
