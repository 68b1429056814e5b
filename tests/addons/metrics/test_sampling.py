"""Rates from what nodes say they have used, and the objects that show them."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons.metrics.objects import node_metrics, pod_metrics
from tiphys.addons.metrics.sampling import Sample, Sampler, declared, total
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins


def row(seconds: float, memory: int, **more: Any) -> dict[str, Any]:
    cpu = {"usageCoreNanoSeconds": int(seconds * 1e9)}
    return {"cpu": cpu, "memory": {"workingSetBytes": memory}, **more}


def summary(seconds: float, *pods: str, memory: int = 4096) -> dict[str, Any]:
    """Of a node and its pods, each with a container `c`, which have used that much time."""
    rows = [
        {"podRef": {"uid": uid}, "containers": [row(seconds, memory, name="c")]} for uid in pods
    ]
    return {"node": row(seconds, memory), "pods": rows}


def two_looks(first: float, second: float) -> Sampler:
    """Ten seconds apart."""
    sampler = Sampler()
    sampler.note("n", summary(first, "u"), 100.0)
    sampler.keep_only({"n"})
    sampler.note("n", summary(second, "u", memory=8192), 110.0)
    return sampler


def test_two_looks_make_a_rate() -> None:
    sampler = two_looks(1.0, 3.5)
    assert sampler.containers("n", "u") == {"c": Sample(250_000_000, 8192, 110.0, 10.0)}
    assert sampler.machine("n") == Sample(250_000_000, 8192, 110.0, 10.0)
    assert not sampler.is_new


def test_the_first_look_makes_none() -> None:
    sampler = Sampler()
    sampler.note("n", summary(1.0, "u"), 100.0)
    assert sampler.is_new and sampler.containers("n", "u") is None
    assert sampler.machine("n") is None


def test_a_container_that_was_started_again_has_no_rate_yet() -> None:
    assert two_looks(5.0, 1.0).containers("n", "u") is None


@pytest.mark.parametrize(
    ("seconds", "later", "rate"),
    [(1.0, 10.0, 0), (2.0, 10.0, 100_000_000), (0.9, 10.0, None), (2.0, 0.0, None), (2, -1, None)],
)
def test_a_rate_is_what_was_used_in_a_time(seconds: float, later: float, rate: int | None) -> None:
    """A counter that goes back was started again; in no time there is no rate."""
    sampler = Sampler()
    sampler.note("n", {"node": row(1.0, 4096)}, 100.0)
    sampler.note("n", {"node": row(seconds, 4096)}, 100.0 + later)
    found = sampler.machine("n")
    assert (found.cpu if found is not None else None) == rate


def test_a_node_that_says_nothing_of_itself_may_speak_of_pods() -> None:
    sampler = Sampler()
    for at in (100.0, 110.0):
        sampler.note("n", {"pods": summary(at, "u")["pods"]}, at)
    assert sampler.machine("n") is None and sampler.containers("n", "u")
    assert not sampler.is_empty and sampler.has_counters
    assert Sampler().is_empty and not Sampler().has_counters


def test_a_pod_that_comes_back_begins_anew() -> None:
    sampler = two_looks(1.0, 2.0)
    sampler.note("n", {"pods": []}, 120.0)
    sampler.note("n", summary(3.0, "u"), 130.0)
    assert sampler.containers("n", "u") is None
    sampler.note("n", summary(4.0, "u"), 140.0)
    assert sampler.containers("n", "u") == {"c": Sample(100_000_000, 4096, 140.0, 10.0)}


def test_what_another_node_says_stays() -> None:
    sampler = two_looks(1.0, 2.0)
    for at in (100.0, 110.0):
        sampler.note("m", summary(at, "u"), at)
    sampler.keep_only({"n"})
    assert sampler.containers("m", "u") is None and sampler.machine("m") is None
    assert sampler.containers("n", "u") is not None and sampler.machine("n") is not None


@pytest.mark.parametrize(("memory", "shown"), [(1023, "0"), (1024, "1Ki"), (2047, "1Ki")])
def test_memory_is_shown_in_whole_kibibytes(memory: int, shown: str) -> None:
    assert Sample(0, memory, 0.0, 0.0).usage() == {"cpu": "0", "memory": shown}


def test_a_pod_is_as_new_as_its_newest_container() -> None:
    samples = {"b": Sample(0, 0, 1000.0, 10.0), "a": Sample(0, 0, 1001.0, 11.0)}
    made = to_builtins(pod_metrics(pod(), samples))
    assert [one["name"] for one in made["containers"]] == ["a", "b"]
    assert (made["timestamp"], made["window"]) == ("1970-01-01T00:16:41Z", "11.000s")
    assert made["metadata"]["creationTimestamp"] == "1970-01-01T00:16:41Z"


def test_pods_and_nodes_that_are_gone_are_forgotten() -> None:
    sampler = two_looks(1.0, 2.0)
    sampler.note("n", summary(3.0, "other"), 120.0)
    assert sampler.containers("n", "u") is None
    sampler.keep_only({"m"})
    assert sampler.machine("n") is None and not sampler.has_counters


@pytest.mark.parametrize(
    "nonsense", [[], {"node": 5}, {"pods": [{}]}, {"node": row(1, 1) | {"cpu": 7}}]
)
def test_nonsense_is_an_error_of_a_known_kind(nonsense: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
        Sampler().note("n", nonsense, 100.0)


def pod(**annotations: str) -> core_v1.Pod:
    said = {f"hollow.tiphys.io/{name}": value for name, value in annotations.items()}
    body = {
        "metadata": {"name": "p", "namespace": "d", "labels": {"a": "b"}, "annotations": said},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
        "status": {"phase": "Running"},
    }
    return from_builtins(body, core_v1.Pod)


def test_a_hollow_pod_uses_what_it_says_or_else_requests() -> None:
    assert declared(pod(), 5.0) == {"c": Sample(100_000_000, 0, 5.0, 0.0)}
    said = declared(pod(cpu="2", memory="1Gi"), 5.0)
    assert said == {"c": Sample(2_000_000_000, 1 << 30, 5.0, 0.0)}
    waiting = pod()
    waiting.status.phase = "Pending"
    assert declared(waiting, 5.0) == {}


def test_what_is_shown_of_a_pod() -> None:
    made = pod_metrics(pod(), {"c": Sample(250_000_000, 8200, 1000.0, 10.0)})
    shown = to_builtins(made)
    assert shown["containers"] == [{"name": "c", "usage": {"cpu": "250m", "memory": "8Ki"}}]
    assert (shown["window"], shown["timestamp"]) == ("10.000s", "1970-01-01T00:16:40Z")
    assert shown["metadata"]["labels"] == {"a": "b"}
    assert pod_metrics(pod(), {}) is None


def test_what_is_shown_of_a_hollow_node_is_the_sum_of_its_pods() -> None:
    node = from_builtins({"metadata": {"name": "n"}}, core_v1.Node)
    each = [Sample(500_000_000, 1 << 20, 1.0, 0.0)] * 3
    usage = to_builtins(node_metrics(node, total(each, 7.0)))["usage"]
    assert usage == {"cpu": "1500m", "memory": "3Mi"}
