"""What a pod takes of its node."""

from __future__ import annotations

import pytest

from tiphys.api import core_v1
from tiphys.machinery.footprint import clash, occupied, ports_of, requests_of, units


def asking(**requests: str) -> core_v1.ResourceRequirements:
    return core_v1.ResourceRequirements(requests=requests)


def container(name: str = "c", restart: str | None = None, **requests: str) -> core_v1.Container:
    return core_v1.Container(name=name, restart_policy=restart, resources=asking(**requests))


def spec(
    *containers: core_v1.Container, init: list[core_v1.Container] | None = None
) -> core_v1.PodSpec:
    return core_v1.PodSpec(containers=list(containers), init_containers=init or [])


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [("cpu", "1500m", 1500), ("cpu", "2", 2000), ("memory", "1Ki", 1024), ("memory", "1m", 1)],
)
def test_cpu_counts_in_thousandths_and_all_else_in_whole_numbers(
    name: str, value: str, number: int
) -> None:
    assert units(name, value) == number


@pytest.mark.parametrize(
    ("pod", "cpu"),
    [
        (spec(container(cpu="1"), container(cpu="2")), 3000),
        (spec(container(cpu="1"), init=[container(cpu="3")]), 3000),
        (spec(container(cpu="3"), init=[container(cpu="1"), container(cpu="2")]), 3000),
        (spec(container(cpu="1"), init=[container("s", "Always", cpu="2")]), 3000),
        (
            spec(container(cpu="1"), init=[container("s", "Always", cpu="2"), container(cpu="4")]),
            6000,
        ),
        (
            spec(container(cpu="1"), init=[container(cpu="4"), container("s", "Always", cpu="2")]),
            4000,
        ),
        (
            spec(
                container(cpu="1"),
                init=[container("s", "Always", cpu="1"), container("t", "Always", cpu="1")],
            ),
            3000,
        ),
    ],
)
def test_a_pod_asks_for_its_neediest_moment(pod: core_v1.PodSpec, cpu: int) -> None:
    assert requests_of(pod) == {"cpu": cpu}


def test_what_the_whole_pod_asks_for_replaces_what_its_containers_do() -> None:
    pod = spec(container(cpu="1", memory="1Ki", example="5"))
    pod.resources = asking(cpu="3", **{"hugepages-2Mi": "4Mi"}, example="7")
    assert requests_of(pod) == {"cpu": 3000, "memory": 1024, "hugepages-2Mi": 4 << 20, "example": 5}


def test_overhead_is_added_and_the_least_stands_for_what_is_not_said() -> None:
    pod = spec(container(cpu="1"), container())
    pod.overhead = {"cpu": "500m", "memory": "1Ki"}
    assert requests_of(pod, {"cpu": 100}) == {"cpu": 1600, "memory": 1024}


def resizing(wish: str, has: str, granted: str, reason: str = "") -> core_v1.Pod:
    pod = core_v1.Pod(spec=spec(container(cpu=wish)))
    status = core_v1.ContainerStatus(name="c", resources=asking(cpu=has))
    status.allocated_resources = {"cpu": granted}
    pod.status.container_statuses = [status]
    if reason:
        pod.status.conditions = [core_v1.PodCondition(type="PodResizePending", reason=reason)]
    return pod


@pytest.mark.parametrize(
    ("pod", "cpu"),
    [
        (resizing("3", "1", "1"), 3000),
        (resizing("1", "3", "1"), 3000),
        (resizing("1", "1", "3"), 3000),
        (resizing("3", "1", "2", "Deferred"), 3000),
        (resizing("3", "1", "2", "Infeasible"), 2000),
    ],
)
def test_while_it_is_resized_a_pod_takes_the_most_of_what_it_may_come_to(
    pod: core_v1.Pod, cpu: int
) -> None:
    assert occupied(pod) == {"cpu": cpu}


def test_a_pod_that_no_node_has_looked_at_takes_what_it_asks_for() -> None:
    assert occupied(core_v1.Pod(spec=spec(container(cpu="2")))) == {"cpu": 2000}


def test_host_ports_are_those_of_containers_and_sidecars() -> None:
    def with_port(number: int, restart: str | None = None, ip: str = "") -> core_v1.Container:
        made = container(restart=restart)
        made.ports = [core_v1.ContainerPort(container_port=1, host_port=number, host_ip=ip)]
        return made

    pod = spec(with_port(80, ip="10.0.0.1"), init=[with_port(81), with_port(82, "Always")])
    pod.containers[0].ports.append(core_v1.ContainerPort(container_port=2))
    pod.containers[0].ports[0].protocol = "UDP"
    assert ports_of(pod) == (("10.0.0.1", "UDP", 80), ("0.0.0.0", "TCP", 82))


@pytest.mark.parametrize(
    ("right", "clashes"),
    [
        (("10.0.0.1", "TCP", 80), True),
        (("0.0.0.0", "TCP", 80), True),
        (("10.0.0.2", "TCP", 80), False),
        (("10.0.0.1", "UDP", 80), False),
        (("10.0.0.1", "TCP", 81), False),
    ],
)
def test_ports_clash_on_one_address_or_on_all(right: tuple[str, str, int], clashes: bool) -> None:
    left = ("10.0.0.1", "TCP", 80)
    assert clash(left, right) == clashes
    assert clash(right, left) == clashes
