"""What pods see of their own fields and resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.containers.fields import field, resource


def described() -> core_v1.Pod:
    one = pod(labels={"b": "2", "a": 'x"\\\n'}, nodeName="n", serviceAccountName="s")
    one.metadata.annotations = {"k": "v"}
    one.metadata.uid = "u"
    return one


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "u"),
        ("metadata.labels", 'a="x\\"\\\\\\n"\nb="2"'),
        ("metadata.labels['b']", "2"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['k']", "v"),
        ("metadata.annotations", 'k="v"'),
        ("spec.nodeName", "n"),
        ("spec.host", "n"),
        ("spec.serviceAccountName", "s"),
        ("status.hostIP", "1.2.3.4"),
        ("status.hostIPs", "1.2.3.4"),
        ("status.podIP", "10.0.0.9"),
        ("status.podIPs", "10.0.0.9"),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert field(described(), path, host_ips=("1.2.3.4",), pod_ips=("10.0.0.9",)) == value


def test_what_the_status_says_counts_before_what_the_node_knows() -> None:
    one = described()
    one.status.host_ip, one.status.pod_ip = "5.6.7.8", "10.0.0.1"
    one.status.pod_ips = [core_v1.PodIP(ip="10.0.0.1"), core_v1.PodIP(ip="fd00::1")]
    paths = ("status.hostIP", "status.podIP", "status.podIPs")
    values = [field(one, path, host_ips=("1.2.3.4",), pod_ips=("10.0.0.9",)) for path in paths]
    assert values == ["5.6.7.8", "10.0.0.1", "10.0.0.1,fd00::1"]


def test_other_fields_are_not_shown() -> None:
    with pytest.raises(KeyError):
        field(described(), "spec.containers")


SIZES: dict[str, Any] = {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi", "cpu": "1500m"}}


@pytest.mark.parametrize(
    ("name", "divisor", "value"),
    [
        ("limits.memory", "1Mi", "64"),
        ("limits.memory", "0", str(64 << 20)),
        ("limits.memory", "1Gi", "1"),
        ("limits.cpu", "1", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", "1", "1"),
        ("requests.memory", "1", "0"),
        ("limits.ephemeral-storage", "1Mi", "1024"),
    ],
)
def test_resources_are_rounded_up_to_the_divisor(name: str, divisor: str, value: str) -> None:
    one = pod(containers=[{"name": "c", "image": "i", "resources": SIZES}])
    selector = core_v1.ResourceFieldSelector(resource=name, divisor=divisor)  # type: ignore[arg-type]
    shown = resource(one, one.spec.containers[0], selector, {"ephemeral-storage": "1Gi"})
    assert shown == value


def test_the_resources_of_another_container() -> None:
    one = pod(
        containers=[{"name": "c", "image": "i"}, {"name": "d", "image": "i", "resources": SIZES}]
    )
    selector = core_v1.ResourceFieldSelector(
        container_name="d",
        resource="limits.cpu",
        divisor="1m",  # type: ignore[arg-type]
    )
    assert resource(one, one.spec.containers[0], selector, {}) == "1500"


@pytest.mark.parametrize(
    ("limits", "name", "value"),
    [
        ({}, "limits.memory", str(32 << 20)),
        ({"memory": "0"}, "limits.memory", str(32 << 20)),
        ({"memory": "1Mi"}, "limits.memory", str(1 << 20)),
        ({}, "limits.cpu", "4"),
        ({}, "limits.hugepages-2Mi", "0"),
    ],
)
def test_a_limit_that_is_not_set_is_the_pods_then_the_nodes(
    limits: dict[str, str], name: str, value: str
) -> None:
    container = {"name": "c", "image": "i", "resources": {"limits": limits}}
    one = pod(containers=[container], resources={"limits": {"memory": "32Mi"}})
    node = {"memory": "1Gi", "cpu": "4", "hugepages-2Mi": "8Mi"}
    selector = core_v1.ResourceFieldSelector(resource=name)
    assert resource(one, one.spec.containers[0], selector, node) == value
