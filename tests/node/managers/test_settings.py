"""The fields of a KubeletConfiguration about cores and memory."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.node.configuration import API_VERSION, KIND, ConfigurationError, read
from tiphys.node.managers.cpusets import parse
from tiphys.node.managers.options import CPUOptions, TopologyOptions
from tiphys.node.managers.settings import Settings, shown


def settings(**fields: Any) -> Settings:
    return read({"apiVersion": API_VERSION, "kind": KIND, **fields}).managers


def test_fields_are_followed() -> None:
    assert settings(
        cpuManagerPolicy="static",
        cpuManagerPolicyOptions={"full-pcpus-only": "true", "strict-cpu-reservation": "false"},
        cpuManagerReconcilePeriod="5s",
        reservedSystemCPUs="0,2-3",
        memoryManagerPolicy="Static",
        reservedMemory=[{"numaNode": 1, "limits": {"memory": "1Ki"}}],
        topologyManagerPolicy="restricted",
        topologyManagerScope="pod",
        topologyManagerPolicyOptions={"max-allowable-numa-nodes": "9"},
        systemReserved={"cpu": "500m", "memory": "1Ki"},
        kubeReserved={"memory": "2Ki"},
        podPidsLimit=100,
    ) == Settings(
        "static",
        CPUOptions(whole_cores=True),
        5.0,
        parse("0,2-3"),
        "Static",
        ((1, {"memory": 1024}),),
        "restricted",
        "pod",
        TopologyOptions(most_nodes=9),
        {"cpu": 500, "memory": 1024},
        {"memory": 2048},
        100,
    )


def test_they_are_shown_as_they_were_said() -> None:
    said = {
        "cpuManagerPolicy": "static",
        "cpuManagerReconcilePeriod": "5s",
        "reservedSystemCPUs": "0,2-3",
        "memoryManagerPolicy": "Static",
        "reservedMemory": [{"numaNode": 1, "limits": {"memory": "1024"}}],
        "topologyManagerPolicy": "restricted",
        "topologyManagerScope": "pod",
        "systemReserved": {"cpu": "500m", "memory": "1024"},
        "kubeReserved": {},
        "podPidsLimit": 100,
    }
    assert shown(settings(**said)) == said
    assert shown(Settings())["podPidsLimit"] == -1


def test_cpus_that_are_named_are_what_is_reserved() -> None:
    named = settings(reservedSystemCPUs="0-1", kubeReserved={"cpu": "8", "memory": "1Ki"})
    assert named.reserved() == {"cpu": 2000, "memory": 1024}
    assert settings(systemReserved={"cpu": "1"}, kubeReserved={"cpu": "1"}).reserved() == {
        "cpu": 2000
    }


CPU, TOPOLOGY = "cpuManagerPolicyOptions", "topologyManagerPolicyOptions"
ACROSS = "distribute-cpus-across-cores"
SPREAD, BY_CACHE = "distribute-cpus-across-numa", "prefer-align-cpus-by-uncorecache"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("cpuManagerPolicy", "dynamic", 'unknown policy: "dynamic"'),
        (CPU, {"x": "true"}, 'unknown CPU Manager Policy option: "x"'),
        (CPU, {"align-by-socket": "true"}, "CPU Manager Policy Alpha-level Options not enabled"),
        (CPU, {"full-pcpus-only": "yes"}, 'bad value for option "full-pcpus-only"'),
        (CPU, {"align-by-socket": "no"}, 'bad value for option "align-by-socket"'),
        (CPU, {SPREAD: "1", BY_CACHE: "1"}, "can not be used at the same time"),
        (CPU, {"full-pcpus-only": "1", ACROSS: "1"}, "can not be used at the same time"),
        ("featureGates", {"Other": True}, "nodes of Tiphys follow only CPUManagerPolicyAlpha"),
        ("featureGates", {"CPUManagerPolicyAlphaOptions": "yes"}, "is neither true nor false"),
        ("featureGates", [], "it is no map"),
        (CPU, ["x"], "it is no map of strings"),
        ("cpuManagerReconcilePeriod", "0s", "is not above 0"),
        ("reservedSystemCPUs", "0-", "unable to parse reservedSystemCPUs (--reserved-cpus) 0-,"),
        ("reservedSystemCPUs", "3-1", "invalid range '3-1' (3 > 1)"),
        ("reservedSystemCPUs", "0-99999999999", "value out of range"),
        ("memoryManagerPolicy", "BestEffort", 'is not available for platform "linux"'),
        ("memoryManagerPolicy", "static", 'unknown policy: "static"'),
        ("reservedMemory", {}, "it is no list"),
        ("reservedMemory", [{"limits": {"cpu": "1"}}], 'the limit type "cpu" for NUMA node 0'),
        ("reservedMemory", [{"limits": {"memory": "0"}}], "reserved memory may not be zero"),
        ("reservedMemory", [{"limits": {"memory": "1"}}] * 2, "has a duplicate value for NUMA"),
        ("topologyManagerPolicy", "x", '"x" must be one of: ["none" "best-effort" "restricted"'),
        ("topologyManagerScope", "x", '"x" must be one of: "container", or "pod"'),
        (TOPOLOGY, {"x": "1"}, 'unknown Topology Manager Policy option: "x"'),
        (TOPOLOGY, {"max-allowable-numa-nodes": "7"}, "should not be less than 8"),
        (TOPOLOGY, {"max-allowable-numa-nodes": "many"}, "unable to convert policy option"),
        ("systemReserved", {"gpu": "1"}, 'cannot reserve "gpu" resource'),
        ("kubeReserved", {"cpu": "-1"}, 'resource quantity for "cpu" cannot be negative'),
        ("podPidsLimit", "many", "'many' is no number"),
    ],
)
def test_what_cannot_be_followed_is_refused(field: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        settings(**{field: value})
    assert str(refusal.value).startswith(f"{field}: ")
    assert problem in str(refusal.value)


def test_options_behind_a_gate_are_followed_where_it_is_on() -> None:
    gates = {"CPUManagerPolicyAlphaOptions": True}
    wanted = {"align-by-socket": "true", ACROSS: "1"}
    followed = settings(cpuManagerPolicyOptions=wanted, featureGates=gates).cpu_options
    assert followed.by_socket and followed.across_cores
    with pytest.raises(ConfigurationError, match="Alpha-level Options not enabled"):
        settings(cpuManagerPolicyOptions={ACROSS: "false"}, featureGates={})
