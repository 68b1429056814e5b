"""Who gets cores for himself, and who shares what is left."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.node.managers.builders import container, guaranteed, static
from tiphys.api import core_v1
from tiphys.node.managers.checkpoint import CheckpointError
from tiphys.node.managers.cpus import CPUManager, whole_cpus_of_pod
from tiphys.node.managers.cpusets import NONE, parse
from tiphys.node.managers.cpustate import CPUState
from tiphys.node.managers.hints import Hint
from tiphys.node.managers.options import CPUOptions
from tiphys.node.managers.placement import place
from tiphys.node.managers.settings import Settings
from tiphys.node.managers.topology import CPU, Layout, Topology, regular

THREADS = regular(cores=4, threads=2)  # CPUs 0-7, 4 is the other thread of core 0
TWO_NODES = regular(sockets=2, cores=4)  # CPUs 0-3 and 4-7


def manager(path: Path, topology: Topology = THREADS) -> CPUManager:
    state = CPUState(path / "state", "static")
    return CPUManager(topology, state, CPUOptions(), parse("0"))


def test_a_guaranteed_pod_has_its_cores_and_the_others_what_is_left(tmp_path: Path) -> None:
    placement = static(THREADS, tmp_path)
    assert placement.cpus("other", "c0") == "0-7"
    assert placement.admit(guaranteed("a", "2")) is None
    assert placement.cpus("a", "c0") == "1,5"
    assert placement.has_own_cpus("a", "c0")
    assert placement.cpus("other", "c0") == "0,2-4,6-7"
    placement.release("a")
    assert placement.cpus("other", "c0") == "0-7"


@pytest.mark.parametrize("qos", ["Burstable", "BestEffort"])
def test_others_share(tmp_path: Path, qos: str) -> None:
    placement = static(THREADS, tmp_path)
    burstable = guaranteed("b", "2")
    burstable.status.qos_class = qos
    fraction = guaranteed("f", "1500m")
    whole = guaranteed("w", "2")
    whole.spec.resources = core_v1.ResourceRequirements(limits={"cpu": "2"})
    for pod in (burstable, fraction, whole):
        assert placement.admit(pod) is None
        assert not placement.has_own_cpus(pod.metadata.uid, "c0")


def test_a_pod_that_does_not_fit_gets_nothing_of_what_it_asked_for(tmp_path: Path) -> None:
    placement = static(THREADS, tmp_path)
    rejection = placement.admit(guaranteed("a", "4", "4"))
    assert rejection is not None
    assert rejection == (
        "UnexpectedAdmissionError",
        "Allocate failed due to not enough cpus available to satisfy request: requested=4, "
        "available=3, which is unexpected",
    )
    assert placement.cpus("other", "c0") == "0-7"


@pytest.mark.parametrize(
    ("cpus", "problem"),
    [
        ("3", "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"),
        (
            "8",
            "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 6, "
            "requested CPUs = 8, CPUs per core = 2",
        ),
    ],
)
def test_only_whole_cores_are_given(tmp_path: Path, cpus: str, problem: str) -> None:
    placement = static(THREADS, tmp_path, cpu_options=CPUOptions(whole_cores=True))
    assert placement.admit(guaranteed("a", cpus)) == ("SMTAlignmentError", problem)
    assert placement.admit(guaranteed("a", "6")) is None
    assert placement.cpus("a", "c0") == "1-3,5-7"


def test_reserved_cores_are_kept_from_everybody_where_that_is_said(tmp_path: Path) -> None:
    placement = static(THREADS, tmp_path, cpu_options=CPUOptions(keep_strict=True))
    assert placement.cpus("other", "c0") == "1-7"


def test_containers_use_the_cores_of_init_containers_that_have_ended(tmp_path: Path) -> None:
    placement = static(THREADS, tmp_path)
    inits = [
        container("first", "4"),
        container("aside", "1", restartPolicy="Always"),
        container("second", "2"),
    ]
    pod = guaranteed("a", "3", "1", initContainers=inits)
    assert whole_cpus_of_pod(pod) == 5
    assert placement.admit(pod) is None
    own = {name: parse(placement.cpus("a", name)) for name in ("first", "aside", "c0", "c1")}
    assert not own["c0"] & own["c1"]
    assert not own["aside"] & (own["c0"] | own["c1"])
    assert (own["c0"] | own["c1"] | own["aside"]) & own["first"]


def test_what_was_given_survives_the_agent(tmp_path: Path) -> None:
    before = static(THREADS, tmp_path)
    pod = guaranteed("a", "2")
    assert before.admit(pod) is None
    after = static(THREADS, tmp_path)
    assert after.admit(pod) is None
    assert after.cpus("a", "c0") == before.cpus("a", "c0") == "1,5"
    after.keep(["b"])
    assert after.cpus("b", "c0") == "0-7"


def test_another_policy_wants_the_file_deleted(tmp_path: Path) -> None:
    static(THREADS, tmp_path)
    with pytest.raises(CheckpointError, match='configured policy "none" differs from state'):
        place(Settings(), THREADS, {}, tmp_path)


@pytest.mark.parametrize(
    ("shared", "own", "problem"),
    [
        ("", "1", "default cpuset cannot be empty"),
        ("1-7", "", 'not all reserved cpus: "0" are present in defaultCpuSet: "1-7"'),
        ("0-7", "1", 'pod: p, container: c cpuset: "1" overlaps with default cpuset "0-7"'),
        ("0,2-6", "1", 'current set of available CPUs "0-7" doesn\'t match with CPUs in state'),
    ],
)
def test_a_state_of_another_machine_is_refused(
    tmp_path: Path, shared: str, own: str, problem: str
) -> None:
    state = CPUState(tmp_path / "state", "static")
    state.shared = parse(shared)
    state.assigned = {"p": {"c": parse(own)}} if own else {}
    with pytest.raises(CheckpointError) as refusal:
        CPUManager(THREADS, state, CPUOptions(), parse("0"))
    assert problem in str(refusal.value)


@pytest.mark.parametrize(
    ("count", "hints"),
    [
        ("2", [Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)]),
        ("4", [Hint(0b10, True), Hint(0b11, False)]),  # CPU 0 is reserved
        ("6", [Hint(0b11, True)]),
        ("8", []),
    ],
)
def test_hints_are_the_nodes_that_have_as_many(
    tmp_path: Path, count: str, hints: list[Hint]
) -> None:
    pod = guaranteed("a", count)
    one = manager(tmp_path, TWO_NODES)
    assert one.container_hints(pod, pod.spec.containers[0]) == {"cpu": hints}
    assert one.pod_hints(pod) == {"cpu": hints}


def test_nodes_of_one_socket_are_as_good_as_one_where_sockets_count(tmp_path: Path) -> None:
    four_nodes = regular(sockets=2, numa_per_socket=2, cores=2)  # 0-3 on the first socket
    state = CPUState(tmp_path / "state", "static")
    one = CPUManager(four_nodes, state, CPUOptions(by_socket=True), parse("0"))
    pod = guaranteed("a", "2")
    container = pod.spec.containers[0]
    preferred = {
        hint.nodes for hint in one.container_hints(pod, container)["cpu"] if hint.preferred
    }
    assert preferred == {0b0010, 0b0100, 0b1000, 0b0011, 0b1100}
    one.allocate(pod, container, Hint(0b0001, True))
    assert one.cpus("a", "c0") == parse("2-3")  # of the socket; the node itself has one left


def test_a_container_that_has_cores_hints_at_them(tmp_path: Path) -> None:
    pod = guaranteed("a", "2")
    one = manager(tmp_path, TWO_NODES)
    one.allocate(pod, pod.spec.containers[0], Hint(0b10, True))
    assert one.cpus("a", "c0") == parse("4-5")
    assert one.pod_hints(pod) == {"cpu": [Hint(0b10, True), Hint(0b11, False)]}
    grown = guaranteed("a", "3")
    assert one.container_hints(grown, grown.spec.containers[0]) == {"cpu": []}


COMINGS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 4)), max_size=15)


@hypothesis.settings(deadline=None, max_examples=40)
@given(COMINGS)
def test_no_core_is_given_twice_and_all_come_back(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]]
) -> None:
    placement = static(THREADS, tmp_path_factory.mktemp("placed"))
    held: dict[str, frozenset[int]] = {}
    for uid, count in events:
        if uid in held or count == 0:
            placement.release(uid)
            held.pop(uid, None)
        elif placement.admit(guaranteed(uid, str(count))) is None:
            held[uid] = parse(placement.cpus(uid, "c0"))
            assert len(held[uid]) == count
        shared = parse(placement.cpus("", ""))
        assert sum(map(len, held.values())) + len(shared) == len(THREADS.cpus)
        assert NONE.union(shared, *held.values()) == THREADS.cpus


@pytest.mark.parametrize(
    ("topology", "policy", "problem"),
    [
        (TWO_NODES, "single-numa-node", "policy is incompatible with CPUManager align-by-socket"),
        (
            Topology(Layout({cpu: CPU(cpu, cpu, 0, cpu) for cpu in range(4)})),
            "restricted",
            "number of sockets are more than number of NUMA",
        ),
    ],
)
def test_not_every_machine_can_be_aligned_by_sockets(
    tmp_path: Path, topology: Topology, policy: str, problem: str
) -> None:
    settings = Settings(
        cpu_policy="static", cpu_options=CPUOptions(by_socket=True), topology_policy=policy
    )
    with pytest.raises(ValueError, match=problem):
        place(settings, topology, {"cpu": 1000}, tmp_path)


def test_shared_and_exclusive_cores_are_counted(tmp_path: Path) -> None:
    one = manager(tmp_path, TWO_NODES)
    before = len(one.shared)
    pod = guaranteed("a", "2")
    one.allocate(pod, pod.spec.containers[0], Hint(0b01, True))
    assert (len(one.shared), one.count_assigned()) == (before - 2, 2)
    one.release("a")
    assert (len(one.shared), one.count_assigned()) == (before, 0)
