"""KubeletConfiguration: what is followed, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.node.configuration import (
    API_VERSION,
    DEFAULT,
    KIND,
    ConfigurationError,
    KubeletConfiguration,
    read,
)


def document(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, **fields}


def test_an_empty_one_is_the_default() -> None:
    assert read(document()) == DEFAULT
    assert [one.signal for one in DEFAULT.eviction_hard] == [
        "memory.available",
        "nodefs.available",
        "nodefs.inodesFree",
    ]


def test_fields_are_followed() -> None:
    configuration = read(
        document(
            evictionHard={"nodefs.available": "10%", "memory.available": "0"},
            memorySwap={"swapBehavior": "LimitedSwap"},
            evictionPressureTransitionPeriod="1m30s",
            maxPods=7,
            containerLogMaxSize="1Mi",
            containerLogMaxFiles=3,
            staticPodPath="/etc/manifests",
        )
    )
    [threshold] = configuration.eviction_hard
    assert threshold.amount(1000) == 100
    rest = (90.0, 7, 1 << 20, 3)
    assert configuration == KubeletConfiguration(
        (threshold,), *rest, static_pods="/etc/manifests", swap_behavior="LimitedSwap"
    )


def test_thresholds_are_brought_together() -> None:
    configuration = read(
        document(
            evictionHard={"memory.available": "1Mi"},
            evictionSoft={"memory.available": "2Mi"},
            evictionSoftGracePeriod={"memory.available": "1m"},
            evictionMinimumReclaim={"memory.available": "3Mi"},
            evictionMaxPodGracePeriod=9,
        )
    )
    [hard], [soft] = configuration.eviction_hard, configuration.eviction_soft
    assert (hard.grace, soft.grace, configuration.eviction_max_grace) == (None, 60.0, 9)
    assert hard.reclaim == soft.reclaim == 3 << 20


def test_a_shutdown_takes_its_time() -> None:
    both = {"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "10s"}
    rows = [{"priority": 0, "shutdownGracePeriodSeconds": 20}]
    assert [period.seconds for period in read(document(**both)).shutdown] == [20, 10]
    by_priority = read(document(shutdownGracePeriodByPodPriority=rows)).shutdown
    assert [period.seconds for period in by_priority] == [20]
    with pytest.raises(ConfigurationError, match="Cannot specify both"):
        read(document(**both, shutdownGracePeriodByPodPriority=rows))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ([], "it is no object"),
        ({"kind": KIND}, "apiVersion and kind must be kubelet.config"),
        (document(cgroupsPerQOS=True), "cgroupsPerQOS: nodes of Tiphys follow only "),
        (document(maxPods=0), "maxPods: 0 is no number above 0"),
        (document(maxPods=True), "maxPods: True is no number"),
        (document(containerLogMaxSize="-1"), "containerLogMaxSize: '-1' is no amount above 0"),
        (document(staticPodPath="manifests"), "staticPodPath: 'manifests' is no absolute path"),
        (document(evictionSoft={"memory.available": "1"}), "grace period must be specified"),
        (document(evictionSoftGracePeriod={"x": "1s"}), 'unsupported eviction signal "x"'),
        (document(evictionMaxPodGracePeriod=-1), "-1 is no number of seconds"),
        (document(shutdownGracePeriod="-1s"), "'-1s' is negative"),
        (document(shutdownGracePeriod="500ms"), "must be either zero or otherwise >= 1 sec"),
        (
            document(imagePullCredentialsVerificationPolicy="x"),
            "unknown image pull credential verification policy: x",
        ),
        (
            document(preloadedImagesVerificationAllowlist=["a"]),
            "can't set `preloadedImagesVerificationAllowlist` if",
        ),
        (document(memorySwap="LimitedSwap"), "memorySwap: it has the field swapBehavior alone"),
        (document(memorySwap={"swapBehavior": "All"}), '\'All\' is none of "", "NoSwap"'),
        (document(allowedUnsafeSysctls=["vm.swappiness"]), "not known to be namespaced"),
        (document(seccompDefault="yes"), "'yes' is neither true nor false"),
        (document(evictionHard=[]), "evictionHard: it is no map"),
        (document(evictionHard={"x": "1"}), "evictionHard: 'x<1' is no threshold"),
        (document(evictionPressureTransitionPeriod="soon"), "time: invalid duration"),
        (document(evictionPressureTransitionPeriod="-1s"), "is negative"),
    ],
)
def test_what_cannot_be_followed_is_refused(wrong: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read(wrong)
    assert problem in str(refusal.value)
