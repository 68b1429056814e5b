"""The operator's loop for one job: look at pods and agents, decide, write the status, act.

The status comes first: what a fault was answered with is counted before anything is done about it,
so that an operator that dies in between does not count it twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tiphys.addons.training.actions import (
    Action,
    CreatePod,
    DeleteJob,
    DeletePod,
    Plan,
    ShutDownAgent,
    StartAgent,
    StopAgent,
)
from tiphys.addons.training.agents import Agents
from tiphys.addons.training.backoff import PodBackoff
from tiphys.addons.training.deciding import decide
from tiphys.addons.training.jobpods import JobPods
from tiphys.addons.training.observation import AgentReport, Member, Observation
from tiphys.addons.training.phases import is_finished
from tiphys.addons.training.pods import (
    gang_size_of,
    name_of,
    place_of,
    pod_of,
    service_of,
    why_lost,
)
from tiphys.addons.training.recording import Recorder
from tiphys.addons.training.sizes import groups_of
from tiphys.addons.training.types import HyperPodPyTorchJob
from tiphys.api import core_v1
from tiphys.api.core_v1 import ObjectReference
from tiphys.client.client import MERGE
from tiphys.controllers.shell import Context
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_already_exists, is_conflict, is_not_found
from tiphys.operator import Reconciler

log = logging.getLogger(__name__)


class JobReconciler(Reconciler[HyperPodPyTorchJob]):
    """`agents` and `recorder` are given by a subclass (`bound_to`): the shell makes reconcilers."""

    kind = HyperPodPyTorchJob
    owns = (core_v1.Pod,)
    workers = 16
    agents: Agents
    metrics: Recorder

    def __init__(self, context: Context, manager: str) -> None:
        super().__init__(context, manager)
        self._silent_since: dict[str, float] = {}  # by pod's uid
        self._last_rank: dict[str, int] = {}  # by pod's uid
        self._backoff = PodBackoff()
        self._job_pods = JobPods()
        self._deleted: dict[str, set[str]] = {}  # uids by job's, until the informer shows it

    def watch(self, enqueue: Callable[[str], None]) -> None:
        """A node that is lost, or well again, matters to the jobs with pods on it at once."""
        self._nodes = self.informer(core_v1.Node)
        self._services = self.informer(core_v1.Service)

        def node_changed(old: core_v1.Node | None, new: core_v1.Node | None) -> None:
            if old is not None and new is not None and _wellness(old) == _wellness(new):
                return
            node = new if new is not None else old
            assert node is not None
            for key in self._job_pods.on_node(node.metadata.name):
                enqueue(key)

        self.informer(core_v1.Pod).on_change(self._pod_changed)
        self._nodes.on_change(node_changed)
        self.informer(HyperPodPyTorchJob).on_change(self.metrics.job_changed)

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if new is not None:
            self._job_pods.put(new)
            return
        assert old is not None
        self._job_pods.remove(old)
        self._silent_since.pop(old.metadata.uid, None)
        self._last_rank.pop(old.metadata.uid, None)

    async def reconcile(self, obj: HyperPodPyTorchJob) -> float | None:
        try:  # the copy of the informer may be older than what was written last
            job = await self.client.get(
                HyperPodPyTorchJob, obj.metadata.name, obj.metadata.namespace
            )
        except StatusError as error:
            if is_not_found(error):
                self._forget(obj)
                return None
            raise
        if job.metadata.uid != obj.metadata.uid or job.metadata.deletion_timestamp:
            return None
        if self._service_is_missing(job):
            await self.apply(job, service_of(job, self.settings.agent_port))
        seen = await self._look(job)
        plan = decide(seen)
        plan.status.job_pods = [_reference(job, member) for member in seen.members]
        before = job.status
        await self._annotate(job, plan.annotations)
        await self.set_status(job, plan.status)
        for event in plan.events:
            self.event(job, event.reason, event.message, warning=event.is_warning)
        self.metrics.decided(job, before, plan.status, seen)
        await self._act(job, plan)
        return self._next_look(plan)

    async def _annotate(self, job: HyperPodPyTorchJob, annotations: dict[str, str]) -> None:
        """What it has to remember, before pods go that know it."""
        if annotations:
            patch = {"metadata": {"uid": job.metadata.uid, "annotations": annotations}}
            name = job.metadata.name
            namespace = job.metadata.namespace
            await self.client.patch(HyperPodPyTorchJob, name, patch, namespace, media=MERGE)
            job.metadata.annotations |= annotations

    def _forget(self, job: HyperPodPyTorchJob) -> None:
        self._deleted.pop(job.metadata.uid, None)
        for group in job.spec.replica_specs:
            for index in range(group.replicas + group.spares):
                key = f"{job.metadata.namespace}/{name_of(job, group.name, index)}"
                self._backoff.forget(key)

    def _next_look(self, plan: Plan) -> float | None:
        poll = float(self.settings.poll_seconds)
        if is_finished(plan.status) or plan.status.start_time is None:
            return None if plan.again is None else max(plan.again, 0.05)
        return poll if plan.again is None else min(max(plan.again, 0.05), poll)

    def _service_is_missing(self, job: HyperPodPyTorchJob) -> bool:
        key = f"{job.metadata.namespace}/{job.metadata.name}"
        return not is_finished(job.status) and self._services.get(key) is None

    # --- look ---

    async def _look(self, job: HyperPodPyTorchJob) -> Observation:
        pods = [pod for pod in self._job_pods.of(job) if place_of(pod) is not None]
        asked = [pod.status.pod_ip for pod in pods if _may_answer(pod)]
        reports = await self.agents.ask(asked)
        deleted = self._deleted.get(job.metadata.uid, set())
        deleted &= {pod.metadata.uid for pod in pods}
        members = tuple(
            self._member(pod, reports.get(pod.status.pod_ip), pod.metadata.uid in deleted)
            for pod in pods
        )
        return Observation(job, members, self.now, float(self.settings.agent_timeout))

    def _member(self, pod: core_v1.Pod, report: AgentReport | None, was_deleted: bool) -> Member:
        place = place_of(pod)
        assert place is not None
        uid = pod.metadata.uid
        node = self._nodes.get(pod.spec.node_name) if pod.spec.node_name else None
        lost = why_lost(pod, node)
        runs = pod.status.phase == "Running"
        if report is not None:
            self._last_rank[uid] = report.rank
        if report is not None or not runs:
            self._silent_since.pop(uid, None)
        elif runs:
            self._silent_since.setdefault(uid, self.now)
        return Member(
            name=pod.metadata.name,
            uid=uid,
            group=place[0],
            index=place[1],
            address=pod.status.pod_ip,
            node=pod.spec.node_name,
            runs=runs,
            is_going=was_deleted or bool(pod.metadata.deletion_timestamp),
            lost=lost,
            node_is_lost=lost.startswith("node "),
            agent=report,
            silent=self.now - self._silent_since.get(uid, self.now),
            last_rank=self._last_rank.get(uid, -1),
        )

    # --- act ---

    async def _act(self, job: HyperPodPyTorchJob, plan: Plan) -> None:
        """Deletions first, so that names are free; then the requests to agents, all at once."""
        job.status = plan.status
        deletions = [one for one in plan.actions if isinstance(one, DeletePod)]
        await asyncio.gather(*(self._delete(job, one) for one in deletions))
        commands = [one for one in plan.actions if not isinstance(one, DeletePod | CreatePod)]
        await asyncio.gather(*(self._command(job, one) for one in commands))
        creations = [one for one in plan.actions if isinstance(one, CreatePod)]
        await asyncio.gather(*(self._create(job, one) for one in creations))

    async def _command(self, job: HyperPodPyTorchJob, action: Action) -> None:
        match action:
            case StartAgent(member, _, body):
                await self.agents.start(member, body)
            case StopAgent(member, grace):
                await self.agents.stop(member, grace)
            case ShutDownAgent(member):
                await self.agents.shut_down(member)
            case DeleteJob():
                await self._delete_job(job)

    async def _delete(self, job: HyperPodPyTorchJob, action: DeletePod) -> None:
        member = action.member
        self._deleted.setdefault(job.metadata.uid, set()).add(member.uid)
        if member.lost and not member.node_is_lost:
            key = f"{job.metadata.namespace}/{member.name}"
            self._backoff.failed(key, member.rank >= 0, self.now)
        try:
            await self.client.delete(
                core_v1.Pod,
                member.name,
                job.metadata.namespace,
                grace=0 if action.at_once else None,
                uid=member.uid,
            )
        except StatusError as error:
            if not is_not_found(error) and not is_conflict(error):  # another pod has the name now
                raise

    async def _create(self, job: HyperPodPyTorchJob, action: CreatePod) -> None:
        groups = groups_of(job)
        group = next(one for one in groups if one.name == action.group)
        key = f"{job.metadata.namespace}/{name_of(job, group.name, action.index)}"
        if self._backoff.seconds_left(key, self.now):
            return
        pod = pod_of(job, group, action.index, gang_size_of(groups), action.avoided_nodes)
        try:
            await self.client.create(pod)
        except StatusError as error:
            if not is_already_exists(error):  # the informer does not show it yet
                self.event(job, "FailedCreate", f"Pod {pod.metadata.name}: {error}", warning=True)
                raise

    async def _delete_job(self, job: HyperPodPyTorchJob) -> None:
        await self.client.delete(
            HyperPodPyTorchJob,
            job.metadata.name,
            job.metadata.namespace,
            propagation="Background",
            uid=job.metadata.uid,
        )


def bound_to(agents: Agents, metrics: Recorder) -> type[JobReconciler]:
    """The reconciler with what it speaks and counts with."""
    return type("BoundJobReconciler", (JobReconciler,), {"agents": agents, "metrics": metrics})


def _may_answer(pod: core_v1.Pod) -> bool:
    return bool(pod.status.phase == "Running" and pod.status.pod_ip)


def _wellness(node: core_v1.Node) -> tuple[object, ...]:
    ready = conditions.state_of(node.status.conditions, "Ready")
    return (ready, *sorted(node.metadata.labels.items()))


def _reference(job: HyperPodPyTorchJob, member: Member) -> ObjectReference:
    return ObjectReference(
        api_version="v1",
        kind="Pod",
        name=member.name,
        namespace=job.metadata.namespace,
        uid=member.uid,
    )
