"""PodSecurity: who is exempt, what audit events are told, and when a level has been tightened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import Record, attributes, refusal, registry_of
from tests.builders import pod
from tiphys.api import batch_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.admission.configuration import PodSecurityConfiguration
from tiphys.apiserver.admission.podsecurity import PodSecurity, _is_tightened, _template
from tiphys.apiserver.http.request import collect_annotations, collect_warnings
from tiphys.machinery.podsecurity import LevelVersion

PREFIX = "pod-security.kubernetes.io/"


def namespace(**modes: str) -> core_v1.Namespace:
    labels = {PREFIX + mode.replace("_", "-"): value for mode, value in modes.items()}
    return core_v1.Namespace(metadata=ObjectMeta(name="default", labels=labels))


async def judged(made: Any, space: core_v1.Namespace, *existing: Any, old: Any = None, **exempt: Any) -> tuple[str, list[str], dict[str, str]]:  # fmt: skip
    """(refusal, warnings, what audit events say)."""
    registry = registry_of(stored(space, *existing))
    plugin = PodSecurity(lambda: registry, PodSecurityConfiguration(**exempt))
    warnings: list[str] = []
    record = Record()
    collect_warnings(warnings)
    collect_annotations(record)
    write = attributes("UPDATE" if old is not None else "CREATE", made, old)
    said = await refusal(plugin.validate(write))
    told = {key.removeprefix(PREFIX): value for key, value in record.annotations.items()}
    return said, warnings, told


ON_HOST: dict[str, Any] = {"hostNetwork": True}
BASELINE = 'PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'


@pytest.mark.parametrize(
    ("modes", "refused", "warned", "told"),
    [
        ({}, False, False, {"enforce-policy": "privileged:latest"}),
        ({"enforce": "baseline"}, True, False, {"enforce-policy": "baseline:latest"}),
        ({"warn": "baseline"}, False, True, {"enforce-policy": "privileged:latest"}),
        ({"audit": "baseline"}, False, False, {"enforce-policy": "privileged:latest", "audit-violations": f"would violate {BASELINE}"}),
        ({"enforce": "baseline", "warn": "baseline"}, True, False, {"enforce-policy": "baseline:latest"}),
    ],
)  # fmt: skip
async def test_each_mode_has_its_way(modes: Any, refused: bool, warned: bool, told: Any) -> None:
    said, warnings, annotations = await judged(pod(**ON_HOST), namespace(**modes))
    assert said == (f'pods "p" is forbidden: violates {BASELINE}' if refused else "")
    assert warnings == ([f"would violate {BASELINE}"] if warned else [])
    assert annotations == told


@pytest.mark.parametrize(
    ("exempt", "why"),
    [
        ({"namespaces": frozenset(("default",))}, "namespace"),
        ({"usernames": frozenset(("jane",))}, "user"),
        ({"runtime_classes": frozenset(("r",))}, "runtimeClass"),
        ({"namespaces": frozenset(("other",)), "usernames": frozenset(("joe",))}, ""),
    ],
)
async def test_who_is_exempt(exempt: dict[str, Any], why: str) -> None:
    made = pod(runtimeClassName="r", **ON_HOST)
    said, _, annotations = await judged(made, namespace(enforce="baseline"), **exempt)
    assert bool(said) == (not why) and annotations.get("exempt", "") == why


async def test_labels_that_nobody_can_read_are_told() -> None:
    _, _, annotations = await judged(pod(), namespace(enforce="none"))
    assert annotations["error"].startswith("Failed to parse policy: metadata.labels")
    _, _, two = await judged(pod(), namespace(enforce="none", warn="none"))
    assert two["error"].startswith("Failed to parse policy: [")


def version(text: str) -> LevelVersion:
    level, _, number = text.partition(":")
    return LevelVersion(level, number or "latest")


@pytest.mark.parametrize(
    ("old", "new", "tightened"),
    [
        ("privileged", "baseline", True),
        ("baseline", "restricted", True),
        ("restricted", "baseline", False),
        ("baseline", "baseline", False),
        ("baseline:v1.20", "baseline:v1.30", True),
        ("restricted:v1.30", "baseline:v1.20", True),
        ("baseline:v1.20", "privileged:v1.30", False),
    ],
)
def test_when_pods_may_break_what_they_kept(old: str, new: str, tightened: bool) -> None:
    assert _is_tightened(version(old), version(new)) == tightened


@pytest.mark.parametrize(("count", "told"), [(1, "p0: host"), (2, "p0 (and 1 other pod): host"), (3, "p0 (and 2 other pods): host")])  # fmt: skip
async def test_how_many_pods_break_a_new_level(count: int, told: str) -> None:
    pods = [pod(f"p{number}", **ON_HOST) for number in reversed(range(count))]
    new = namespace(enforce="baseline")
    _, warnings, _ = await judged(new, namespace(), *pods, old=namespace())
    assert warnings[1].startswith(told)


async def test_a_class_that_is_exempt_breaks_nothing() -> None:
    made = pod(runtimeClassName="r", **ON_HOST)
    new = namespace(enforce="baseline")
    classes = frozenset(("r",))
    _, warnings, _ = await judged(new, namespace(), made, old=namespace(), runtime_classes=classes)
    assert warnings == []


@pytest.mark.parametrize(
    ("obj", "has"),
    [
        (core_v1.ConfigMap(), False),
        (core_v1.PodTemplate(), True),
        (batch_v1.Job(), True),
        (batch_v1.CronJob(), True),
        (core_v1.Service(), False),
    ],
)
def test_what_has_a_template(obj: Any, has: bool) -> None:
    assert (_template(obj) is not None) == has
