"""How many pods each group has: fixed, or between the bounds of an elastic job. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.addons.training.types import ElasticPolicy, HyperPodPyTorchJob, ReplicaSpec


@dataclass(frozen=True)
class Group:
    """`target` pods train now, `sizes` are all that may, ascending; `spares` stand beside them.
    `first_rank` is where its block of ranks starts."""

    name: str
    target: int
    sizes: tuple[int, ...]
    spares: int
    first_rank: int
    spec: ReplicaSpec

    @property
    def is_elastic(self) -> bool:
        return len(self.sizes) > 1

    @property
    def pods(self) -> int:
        """How many there are to be: an elastic group tries to have as many as it may."""
        return max(self.target, self.sizes[-1]) + self.spares

    def largest_within(self, count: int) -> int:
        """The largest size that so many pods are enough for; 0 when none is."""
        return max((size for size in self.sizes if size <= count), default=0)


def groups_of(job: HyperPodPyTorchJob) -> tuple[Group, ...]:
    """The groups of a valid job, in their order, with the sizes in its status."""
    scaling = job.status.elastic_scaling_status
    targets = scaling.target_replicas if scaling is not None else {}
    elastic = _elastic_group(job)
    groups: list[Group] = []
    first_rank = 0
    for spec in job.spec.replica_specs:
        sizes: tuple[int, ...] = (spec.replicas,)
        if spec.name == elastic and job.spec.elastic_policy is not None:
            sizes = sizes_of(spec, job.spec.elastic_policy)
        target = targets.get(spec.name, spec.replicas)
        if target not in sizes:
            target = max((size for size in sizes if size <= target), default=sizes[0])
        groups.append(Group(spec.name, target, sizes, spec.spares, first_rank, spec))
        first_rank += target
    return tuple(groups)


def _elastic_group(job: HyperPodPyTorchJob) -> str:
    """The one that grows and shrinks: the first with a maximum of its own, else the first."""
    specs = job.spec.replica_specs
    for spec in specs:
        if spec.max_replicas is not None:
            return spec.name
    return specs[0].name if specs else ""


def sizes_of(spec: ReplicaSpec, policy: ElasticPolicy) -> tuple[int, ...]:
    """All sizes of an elastic group. The size in `replicas` is always one of them, unless
    sizes are named one by one."""
    least = policy.min_replicas or spec.replicas
    most = spec.max_replicas or policy.max_replicas or spec.replicas
    if policy.replica_discrete_values:
        allowed = {size for size in policy.replica_discrete_values if least <= size <= most}
        return tuple(sorted(allowed)) or (spec.replicas,)
    step = policy.replica_increment_step or 1
    return tuple(sorted({*range(least, most + 1, step), min(spec.replicas, most)}))


def world_of(groups: tuple[Group, ...]) -> int:
    """How many pods train in all: `nnodes` of the protocol."""
    return sum(group.target for group in groups)
