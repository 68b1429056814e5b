"""PodSecurity: whose pods are refused and who is warned, beside what the standards say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import registry_of
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import Object, ObjectMeta
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.admission.configuration import PodSecurityConfiguration
from tiphys.apiserver.admission.podsecurity import PodSecurity
from tiphys.apiserver.http.request import User, collect_warnings
from tiphys.machinery.errors import StatusError

LABEL = "pod-security.kubernetes.io/"
HOST = "host namespaces (hostNetwork=true)"


def namespace(name: str = "n", **modes: str) -> core_v1.Namespace:
    labels = {LABEL + mode.replace("_", "-"): value for mode, value in modes.items()}
    return core_v1.Namespace(metadata=ObjectMeta(name=name, labels=labels))


def pod(name: str = "p", image: str = "i", **spec: Any) -> core_v1.Pod:
    spec = {"containers": [{"name": "c", "image": image}], "hostNetwork": True, **spec}
    made = core_v1.Pod(spec=from_builtins(spec, core_v1.PodSpec))
    made.metadata = ObjectMeta(name=name, namespace="n")
    return made


async def judged(
    obj: Object,
    *existing: Object,
    old: Object | None = None,
    subresource: str = "",
    config: PodSecurityConfiguration | None = None,
) -> list[str]:
    """The warnings that a write meets. Raises StatusError."""
    registry = registry_of(stored(*existing))
    plugin = PodSecurity(lambda: registry, config or PodSecurityConfiguration())
    warnings: list[str] = []
    collect_warnings(warnings)
    resource = resource_of(type(obj))
    name, where = obj.metadata.name, obj.metadata.namespace
    where = where or name  # of a namespace, it is its own, as upstream
    operation = "CREATE" if old is None else "UPDATE"
    user = User("jane")
    a = Attributes(resource, operation, where, name, obj, old, user, subresource=subresource)
    await plugin.validate(a)
    return warnings


async def test_a_template_is_warned_of_what_its_pods_will_be_refused_for() -> None:
    template = core_v1.PodTemplateSpec(spec=pod().spec)
    made = apps_v1.Deployment(metadata=ObjectMeta(name="d", namespace="n"))
    made.spec.template = template
    told = [f'would violate PodSecurity "baseline:v1.30": {HOST}']
    enforcing = namespace(enforce="baseline", enforce_version="v1.30")
    assert await judged(made, enforcing) == told
    assert await judged(made, enforcing, old=made) == told
    assert await judged(made, enforcing, old=made, subresource="status") == []


async def test_a_pod_that_is_refused_is_not_warned_of() -> None:
    with pytest.raises(StatusError, match='violates PodSecurity "baseline:latest": host names'):
        await judged(pod(), namespace(enforce="baseline"))


@pytest.mark.parametrize("subresource", ["", "resize", "ephemeralcontainers"])
async def test_a_pod_that_stays_what_it_is_may_change(subresource: str) -> None:
    new = pod(tolerations=[{"operator": "Exists"}], activeDeadlineSeconds=5)
    enforcing = namespace(enforce="baseline")
    assert await judged(new, enforcing, old=pod(), subresource=subresource) == []
    with pytest.raises(StatusError, match="violates PodSecurity"):
        await judged(pod(image="other"), enforcing, old=pod(), subresource=subresource)


async def test_who_tightens_a_level_is_told_once_what_many_pods_break() -> None:
    ports = [{"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 1}]}]
    pods = [pod("b"), pod("a"), pod("c"), pod("d", containers=ports), pod("e", hostNetwork=False)]
    assert await judged(namespace(enforce="baseline"), *pods, old=namespace()) == [
        'existing pods in namespace "n" violate the new PodSecurity enforce level'
        ' "baseline:latest"',
        "a (and 2 other pods): host namespaces",
        "d: host namespaces, hostPort",
    ]


@pytest.mark.parametrize(
    "before",
    [{"enforce": "baseline"}, {"enforce": "restricted"}, {"enforce": "baseline", "x": "y"}],
)
async def test_who_relaxes_a_level_is_told_nothing(before: dict[str, str]) -> None:
    assert await judged(namespace(enforce="baseline"), pod(), old=namespace(**before)) == []


async def test_labels_that_were_bad_before_may_stay() -> None:
    bad = namespace(enforce="none")
    assert await judged(bad, old=bad) == []
    with pytest.raises(StatusError, match="must be one of privileged, baseline, restricted"):
        await judged(namespace(enforce="nothing"), old=bad)


async def test_an_exempt_namespace_is_told_that_its_labels_do_nothing() -> None:
    config = PodSecurityConfiguration(namespaces=frozenset("n"))
    made = namespace(enforce="baseline", audit_version="v1.20")
    assert await judged(made, config=config) == [
        'namespace "n" is exempt from Pod Security, and the policy (enforce=baseline:latest)'
        " will be ignored"
    ]
    assert await judged(pod(), made, config=config) == []
