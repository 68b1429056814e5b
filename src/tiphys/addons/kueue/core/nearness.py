"""Which of a workload's pods go to a topology, of which flavor, and whether they can all be placed.

Source: upstream's flavor assigner. Pods that ask for nearness need a flavor with a topology; those
that do not are only there where the queue has nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tiphys.addons.kueue.core.leading import place_pair
from tiphys.addons.kueue.core.placing import PlacingError, Request, has_levels, place
from tiphys.addons.kueue.core.state import Flavor, Group, Holding, Item, PodGroup, Queue, State
from tiphys.addons.kueue.core.topology import Assignment, Tree, Used

NOT_PLACED = "TopologyPlacementFailed"
Chosen = Sequence[Mapping[str, str]]
"""By pod set: flavors by resource."""


class UnplaceableError(Exception):
    """The pods of a set cannot be placed, and why not."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


def mismatch(state: State, queue: Queue, pods: PodGroup, name: str, group: Group) -> str:
    """Why a flavor is not for these pods; empty: it is."""
    flavor = state.flavors.get(name)
    if flavor is None or _is_implied(state, queue, pods):
        return ""
    if not pods.nearness.is_asked_for:
        has = bool(flavor.topology_name)
        return f'Flavor "{name}" supports only TopologyAwareScheduling' if has else ""
    if not flavor.topology_name:
        if not group.resources & pods.plain.keys():
            return ""  # what it has quota for is not on nodes
        return f'Flavor "{name}" does not support TopologyAwareScheduling'
    if flavor.topology is None:
        return f'Flavor "{name}" information missing in TAS cache'
    if not has_levels(flavor.topology, pods.nearness):
        return f'Flavor "{name}" does not contain the requested level'
    return ""


def _is_implied(state: State, queue: Queue, pods: PodGroup) -> bool:
    return not pods.nearness.is_asked_for and has_topologies_alone(state, queue)


def has_topologies_alone(state: State, queue: Queue) -> bool:
    names = [name for group in queue.groups for name in group.flavors]
    return bool(names) and all(
        name in state.flavors and bool(state.flavors[name].topology_name) for name in names
    )


def placed(
    state: State, item: Item, counts: Sequence[int], chosen: Chosen, is_empty: bool = False
) -> dict[int, Assignment]:
    """Where the pods go, by pod set, beside those that are there; `is_empty`: as if no workload
    had a place. Raises UnplaceableError."""
    queue = state.queues[item.queue]
    assignments: dict[int, Assignment] = {}
    on_hosts = Used()  # by the pod sets before; so in trees that share hosts
    for sets in _placed_together(state, queue, item, counts):
        workers = sets[0]
        pods = item.pod_sets[workers]
        flavor, tree = _only_tree(state, workers, chosen[workers])
        implied = _is_implied(state, queue, pods)
        request = Request(
            pods.nearness, counts[workers], pods.plain, pods.spec, flavor.tolerations, implied
        )
        assumed = on_hosts if tree.has_hosts else _taken(tree, item, assignments, state, chosen)
        leaders = [item.pod_sets[index].taking for index in sets[1:]]
        try:
            places = _places(tree, request, leaders, assumed, is_empty)
        except PlacingError as error:
            raise UnplaceableError(workers, str(error)) from None
        for index, assignment in zip(sets, places, strict=True):
            assignments[index] = assignment
            if tree.has_hosts:
                _note(on_hosts, tree, assignment, item.pod_sets[index].taking)
    return assignments


def groups_of(pod_sets: Sequence[PodGroup]) -> list[list[int]]:
    """The sets of each group, by index, and those of none alone."""
    members: dict[str | int, list[int]] = {}
    for index, pods in enumerate(pod_sets):
        members.setdefault(pods.nearness.group or index, []).append(index)
    return list(members.values())


def _placed_together(
    state: State, queue: Queue, item: Item, counts: Sequence[int]
) -> Iterator[tuple[int, ...]]:
    """Of the sets that go to a topology: workers with their leader, and others alone."""
    for group in groups_of(item.pod_sets):
        sets = [
            index
            for index in group
            if counts[index] and _has_places(state, queue, item.pod_sets[index])
        ]
        if len(sets) == 2:  # the rules let no more through
            first, second = sets
            yield (second, first) if counts[second] > counts[first] else (first, second)
        else:
            yield from ((index,) for index in sets)


def _has_places(state: State, queue: Queue, pods: PodGroup) -> bool:
    return pods.nearness.is_asked_for or _is_implied(state, queue, pods)


def _places(
    tree: Tree,
    request: Request,
    leaders: Sequence[Mapping[str, int]],
    assumed: Used,
    is_empty: bool,
) -> list[Assignment]:
    """Of the workers, and of their leader if they have one."""
    if not leaders:
        return [place(tree, request, assumed, is_empty)]
    pair = place_pair(tree, request, leaders[0], assumed, is_empty)
    return [pair.workers, pair.leader]


def _taken(
    tree: Tree, item: Item, assignments: Mapping[int, Assignment], state: State, chosen: Chosen
) -> Used:
    """What pod sets before take of the same tree."""
    taken = Used()
    for index, assignment in assignments.items():
        if _only_tree(state, index, chosen[index])[1] is tree:
            _note(taken, tree, assignment, item.pod_sets[index].taking)
    return taken


def _note(used: Used, tree: Tree, assignment: Assignment, per_pod: Mapping[str, int]) -> None:
    for domain in assignment.places:
        used.add(tree.key(domain.values), per_pod, domain.pods)


def _only_tree(state: State, index: int, chosen: Mapping[str, str]) -> tuple[Flavor, Tree]:
    trees = {
        name: flavor.topology
        for name in chosen.values()
        if (flavor := state.flavors[name]).topology is not None
    }
    if not trees:
        raise UnplaceableError(index, "no TAS flavor assigned")
    if len(trees) > 1:
        listed = " ".join(sorted(trees))
        raise UnplaceableError(index, f"more than one TAS flavor assigned: [{listed}]")
    ((name, tree),) = trees.items()
    return state.flavors[name], tree


def holdings(
    item: Item, chosen: Chosen, assignments: Mapping[int, Assignment]
) -> tuple[Holding, ...]:
    """What a workload takes of trees when its pods go there."""
    return tuple(
        Holding(frozenset(chosen[index].values()), item.pod_sets[index].taking, assignment.places)
        for index, assignment in assignments.items()
    )
