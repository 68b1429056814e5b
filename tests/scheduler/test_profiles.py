"""What profiles change of where pods go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import node
from tests.scheduler.builders import (
    framework,
    requesting,
    snapshot_of,
)
from tiphys.api import core_v1
from tiphys.scheduler.configuration import (
    WEIGHTS,
    ConfigurationError,
    Profile,
)
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.profiles import read_profiles

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def asking(name: str = "p", **requests: str) -> PodInfo:
    return PodInfo(requesting(name, requests))


def test_profiles_choose_differently() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    snapshot.put_pod(asking("there", cpu="1", memory="1Gi"), "a")
    most = {"NodeResourcesFit": {"scoringStrategy": {"type": "MostAllocated"}}}
    packing = Profile("packed", weights={**WEIGHTS, "NodeResourcesFit": 10}, arguments=most)
    info = asking(cpu="1", memory="1Gi")
    assert framework(snapshot, Profile()).place(info).node == "b"
    assert framework(snapshot, packing).place(info).node == "a"


def test_a_filter_that_is_disabled_scores_still() -> None:
    tainted = node("a")
    tainted.spec.taints = [core_v1.Taint(key="k", effect="NoSchedule")]
    snapshot = snapshot_of(tainted)
    assert not framework(snapshot).place(asking()).node
    lenient = Profile(filters=frozenset(WEIGHTS) - {"TaintToleration"})
    assert framework(snapshot, lenient).place(asking()).node == "a"


def test_a_profile_adds_affinity_to_every_pod() -> None:
    terms = [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
    added = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    snapshot = snapshot_of(node("a"), node("b", disk="ssd"))
    chosen = Profile(arguments={"NodeAffinity": {"addedAffinity": added}})
    assert framework(snapshot, chosen).place(asking()).node == "b"


def test_profiles_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_text(HEAD + "extenders: [{urlPrefix: http://x, filterVerb: f}]")
    [profile] = read_profiles(file)
    assert [extender.url for extender in profile.extenders] == ["http://x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profiles: [", "expected"),
        (
            "profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}]}]",
            "hardPodAffinityWeight",
        ),
        ("extenders: [{urlPrefix: x}]", "urlPrefix"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_text(HEAD + text)
    with pytest.raises(ConfigurationError, match=message):
        read_profiles(file)
