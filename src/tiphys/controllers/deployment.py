"""Deployments: a replica set for each template, scaled against each other step by step.

How large each may be is worked out in `rollout`; here replica sets are claimed, created, scaled and
removed, and the deployment's conditions kept.
"""

from __future__ import annotations

import copy

from tiphys.api.apps_v1 import (
    Deployment,
    DeploymentCondition,
    DeploymentStatus,
    ReplicaSet,
)
from tiphys.api.base import decode, encode
from tiphys.client.informer import key_of
from tiphys.controllers import rollout
from tiphys.controllers.claiming import claim
from tiphys.controllers.replicasets import (
    annotate,
    counted,
    is_adoptable,
    latest_revision,
    new_replica_set,
    newest,
    set_revision,
)
from tiphys.controllers.rollout import (
    DESIRED,
    Sizes,
    same_template,
    size,
    wanted_size,
)
from tiphys.controllers.shell import Controller, controller_of, owner_index
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError, already_exists, is_already_exists
from tiphys.machinery.selectors import from_label_selector

_NO_DEADLINE = 2147483647  # seconds: the largest value means that there is none, as upstream
_MARGIN = 1.0  # seconds after the progress deadline until it is checked again


class DeploymentController(Controller):
    name = "deployment"
    workers = 32  # each waits for the server most of the time

    def watch(self) -> None:
        self._deployments = self.informer(Deployment)
        self._sets = self.informer(ReplicaSet)
        self._sets.index("owner", owner_index)
        self._deployments.on_change(self.enqueue)
        self._sets.on_change(self.enqueue_owner("Deployment"))

    async def reconcile(self, key: str) -> float | None:
        standing = self._deployments.get(key)
        if standing is None:
            return None
        deployment = copy.copy(standing)
        deployment.metadata = copy.deepcopy(standing.metadata)
        deployment.status = copy.deepcopy(standing.status)
        sets = await self._claim(deployment)
        if deployment.metadata.deletion_timestamp:
            return await self._sync_status(deployment, sets, None)
        self._note_pause(deployment)
        new = newest(deployment, sets)
        if rollout.is_scaling(deployment, sets):
            await self._scale(deployment, sets, rollout.proportional(deployment, sets))
            return await self._sync_status(deployment, sets, new)
        if deployment.spec.paused:
            return await self._sync_status(deployment, sets, new)
        return await self._roll(deployment, sets, new)

    async def _claim(self, deployment: Deployment) -> list[ReplicaSet]:
        """The deployment's replica sets, after adopting and releasing."""
        selector = from_label_selector(deployment.spec.selector)
        if deployment.metadata.deletion_timestamp or selector is None:
            return self._sets.by("owner", deployment.metadata.uid)
        return await claim(self.client, self._sets, deployment, selector, is_adoptable)

    # --- one step of a rollout ---

    async def _roll(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> float | None:
        old = [rs for rs in sets if rs is not new]
        if deployment.spec.strategy.type == "Recreate":
            if await self._is_emptying(deployment, sets, new):
                return await self._sync_status(deployment, sets, new)
        if new is None:
            new = await self._create(deployment, old)
        else:
            new = await self._revise(deployment, new, old)
        sets = [*old, new]
        wanted = rollout.new_size(deployment, size(new), rollout.total_size(sets))
        if wanted != size(new):
            await self._scale(deployment, sets, {new.metadata.uid: wanted})
        elif smaller := rollout.shrink_old(deployment, new, old):
            await self._scale(deployment, sets, smaller)
        elif rollout.is_complete(deployment, counted(deployment, sets, new)):
            for superfluous in rollout.beyond_history(deployment, old):
                meta = superfluous.metadata
                await self.client.delete(ReplicaSet, meta.name, meta.namespace)
        return await self._sync_status(deployment, sets, new)

    async def _is_emptying(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> bool:
        """With the strategy Recreate no pod of the new template is created before the last of the
        others is gone. Returns whether that is still waited for."""
        old = [rs for rs in sets if rs is not new]
        empty: Sizes = {rs.metadata.uid: 0 for rs in old if size(rs)}
        if empty:
            await self._scale(deployment, sets, empty)
            return True
        has_begun = new is not None and size(new) > 0
        pods_left = any(rs.status.replicas or rs.status.terminating_replicas for rs in old)
        return pods_left and not has_begun

    async def _create(self, deployment: Deployment, old: list[ReplicaSet]) -> ReplicaSet:
        """The replica set of a template that has none yet."""
        new = new_replica_set(deployment, old)
        annotate(deployment, new, latest_revision(old) + 1)
        try:
            created = await self.client.create(new)
        except StatusError as error:
            if not is_already_exists(error):
                self._progressing(deployment, "False", "ReplicaSetCreateError", str(error))
                raise
            return await self._resolve_collision(deployment, new)
        if size(created):
            self._scaled_event(deployment, created, 0, size(created))
        set_revision(deployment, created)
        message = f'Created new replica set "{created.metadata.name}"'
        self._progressing(deployment, "True", "NewReplicaSetCreated", message)
        return created

    async def _resolve_collision(self, deployment: Deployment, new: ReplicaSet) -> ReplicaSet:
        """The name is taken: by our own replica set that the informer has not shown yet, or by
        another owner's. Then another hash is tried; the conflict that is raised leads to it."""
        standing = await self.client.get(ReplicaSet, new.metadata.name, new.metadata.namespace)
        owner = controller_of(standing)
        is_ours = owner is not None and owner.uid == deployment.metadata.uid
        if is_ours and same_template(standing.spec.template, deployment.spec.template):
            return standing
        deployment.status.collision_count = (deployment.status.collision_count or 0) + 1
        await self.client.update_status(deployment)
        raise already_exists("replicasets.apps", new.metadata.name)

    async def _revise(
        self, deployment: Deployment, new: ReplicaSet, old: list[ReplicaSet]
    ) -> ReplicaSet:
        """An existing replica set is the new one, maybe again: it gets the next revision number."""
        changed = decode(encode(new), ReplicaSet)
        is_changed = annotate(deployment, changed, latest_revision(old) + 1)
        if changed.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
            changed.spec.min_ready_seconds = deployment.spec.min_ready_seconds
            is_changed = True
        if is_changed:
            new = await self.client.update(changed)
        set_revision(deployment, new)
        if conditions.find(deployment.status.conditions, "Progressing") is None:
            message = f'Found new replica set "{new.metadata.name}"'
            self._progressing(deployment, "True", "FoundNewReplicaSet", message)
        return new

    async def _scale(self, deployment: Deployment, sets: list[ReplicaSet], sizes: Sizes) -> None:
        """Gives replica sets their new sizes, and notes on all that have pods what is wanted now.
        What was written takes its place in `sets`."""
        desired = str(wanted_size(deployment))
        for index, rs in enumerate(sets):
            wanted = sizes.get(rs.metadata.uid, size(rs))
            is_noted = rs.metadata.annotations.get(DESIRED) == desired
            if wanted == size(rs) and (is_noted or not size(rs)):
                continue
            changed = decode(encode(rs), ReplicaSet)
            annotate(deployment, changed, 0)
            changed.spec.replicas = wanted
            sets[index] = await self.client.update(changed)
            if wanted != size(rs):
                self._scaled_event(deployment, rs, size(rs), wanted)

    def _scaled_event(
        self, deployment: Deployment, rs: ReplicaSet, before: int, after: int
    ) -> None:
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {rs.metadata.name} from {before} to {after}"
        self.event(deployment, "Normal", "ScalingReplicaSet", message)

    # --- status ---

    async def _sync_status(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> float | None:
        """Writes the status, and the annotations that go with it. Returns when to look at the
        progress deadline again."""
        before = deployment.status
        status = deployment.status = counted(deployment, sets, new)
        self._note_availability(deployment)
        wait = self._note_progress(deployment, before, new)
        self._note_failure(deployment, sets, new)
        standing = self._deployments.get(key_of(deployment))
        is_written = (
            standing is not None
            and standing.status == status
            and standing.metadata.annotations == deployment.metadata.annotations
        )
        if not is_written:
            await self.client.update_status(deployment)
        return wait

    def _note_availability(self, deployment: Deployment) -> None:
        least = wanted_size(deployment) - rollout.bounds(deployment).unavailable
        if deployment.status.available_replicas >= least:
            message = "Deployment has minimum availability."
            self._condition(deployment, "Available", "True", "MinimumReplicasAvailable", message)
        else:
            message = "Deployment does not have minimum availability."
            self._condition(deployment, "Available", "False", "MinimumReplicasUnavailable", message)

    def _note_progress(
        self, deployment: Deployment, before: DeploymentStatus, new: ReplicaSet | None
    ) -> float | None:
        """Keeps the condition Progressing. Returns when to look at the deadline again."""
        deadline = deployment.spec.progress_deadline_seconds
        if deadline is None or deadline == _NO_DEADLINE or deployment.spec.paused:
            return None
        subject = f'Deployment "{deployment.metadata.name}"'
        if new is not None:
            subject = f'ReplicaSet "{new.metadata.name}"'
        if rollout.is_complete(deployment, deployment.status):
            message = f"{subject} has successfully progressed."
            self._progressing(deployment, "True", "NewReplicaSetAvailable", message)
            return None
        standing = conditions.find(deployment.status.conditions, "Progressing")
        was_complete = standing is None or standing.reason == "NewReplicaSetAvailable"
        if was_complete or rollout.has_progressed(before, deployment.status):
            message = f"{subject} is progressing."
            self._progressing(deployment, "True", "ReplicaSetUpdated", message, touch=True)
            return deadline + _MARGIN
        assert standing is not None
        if standing.reason == "ProgressDeadlineExceeded":
            return None
        left = timestamps.parse(standing.last_update_time) + deadline - self.context.now()
        if left >= 0:
            return left + _MARGIN
        message = f"{subject} has timed out progressing."
        self._progressing(deployment, "False", "ProgressDeadlineExceeded", message)
        return None

    def _note_pause(self, deployment: Deployment) -> None:
        """A rollout that is paused makes no progress and is not late; once resumed, the deadline
        starts over."""
        if deployment.spec.progress_deadline_seconds is None:
            return
        standing = conditions.find(deployment.status.conditions, "Progressing")
        reason = standing.reason if standing is not None else ""
        if reason == "ProgressDeadlineExceeded":
            return
        was_paused = reason == "DeploymentPaused"
        if deployment.spec.paused and not was_paused:
            self._progressing(deployment, "Unknown", "DeploymentPaused", "Deployment is paused")
        elif was_paused and not deployment.spec.paused:
            self._progressing(deployment, "Unknown", "DeploymentResumed", "Deployment is resumed")

    def _note_failure(
        self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None
    ) -> None:
        """What keeps a replica set from creating its pods keeps the deployment: the new set's
        failure first."""
        ordered = sets if new is None else [new, *sets]
        for rs in ordered:
            failure = conditions.find(rs.status.conditions, "ReplicaFailure")
            if failure is not None:
                reason = failure.reason
                message = failure.message
                self._condition(deployment, "ReplicaFailure", failure.status, reason, message)
                return
        status = deployment.status
        status.conditions = conditions.without(status.conditions, "ReplicaFailure")

    def _progressing(
        self, deployment: Deployment, value: str, reason: str, message: str, touch: bool = False
    ) -> None:
        self._condition(deployment, "Progressing", value, reason, message, touch)

    def _condition(
        self,
        deployment: Deployment,
        kind: str,
        value: str,
        reason: str,
        message: str,
        touch: bool = False,
    ) -> None:
        """Sets a condition. One whose status and reason are the same stays as it is, unless it is
        to be touched: its time of update moves then, from which the progress deadline counts."""
        status = deployment.status
        standing = conditions.find(status.conditions, kind)
        if standing is not None and not touch:
            if (standing.status, standing.reason) == (value, reason):
                return
        now = self.context.now()
        condition = DeploymentCondition(
            type=kind,
            status=value,
            reason=reason,
            message=message,
            last_update_time=timestamps.rfc3339(now),
        )
        status.conditions = conditions.updated(status.conditions, condition, now, last=True)
