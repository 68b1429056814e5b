"""ServiceAccount: the account of a pod, its token, and what mirror pods may not have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import attributes, refusal, registry_of
from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.admission.serviceaccounts import TOKEN_PATH, ServiceAccount
from tiphys.machinery.podrefs import MIRROR


def account(name: str = "default", **parts: Any) -> core_v1.ServiceAccount:
    return core_v1.ServiceAccount(metadata=ObjectMeta(name=name, namespace="default"), **parts)


def plugin_with(*accounts: core_v1.ServiceAccount) -> ServiceAccount:
    registry = registry_of(stored(*accounts))
    return ServiceAccount(lambda: registry)


async def admitted(made: core_v1.Pod, *accounts: core_v1.ServiceAccount, **more: Any) -> str:
    return await refusal(plugin_with(*accounts).mutate(attributes("CREATE", made, **more)))


def mounted(made: core_v1.Pod) -> bool:
    return any(m.mount_path == TOKEN_PATH for c in made.spec.containers for m in c.volume_mounts)


@pytest.mark.parametrize(
    ("spec", "name"),
    [({}, "default"), ({"serviceAccountName": "robot"}, "robot")],
)
async def test_a_pod_has_an_account(spec: dict[str, Any], name: str) -> None:
    made = pod(**spec)
    assert await admitted(made, account(), account("robot")) == ""
    assert (made.spec.service_account_name, made.spec.service_account) == (name, name)


async def test_an_account_that_is_missing_is_looked_up_in_vain() -> None:
    said = await admitted(pod(serviceAccountName="robot"), account())
    assert (
        'error looking up service account default/robot: serviceaccount "robot" not found' in said
    )


@pytest.mark.parametrize(
    ("of_pod", "of_account", "is_mounted"),
    [
        (None, None, True),
        (None, True, True),
        (None, False, False),
        (True, False, True),
        (False, True, False),
        (False, None, False),
    ],
)
async def test_the_pod_decides_on_its_token_before_its_account(
    of_pod: bool | None, of_account: bool | None, is_mounted: bool
) -> None:
    made = pod(**({} if of_pod is None else {"automountServiceAccountToken": of_pod}))
    await admitted(made, account(automount_service_account_token=of_account))
    assert mounted(made) == is_mounted == bool(made.spec.volumes)


async def test_what_is_mounted() -> None:
    """As upstream's createVolume: token, authority and namespace."""
    made = pod(initContainers=[{"name": "i", "image": "i"}])
    await admitted(made, account())
    [volume] = to_builtins(made.spec.volumes)
    assert volume["name"].startswith("kube-api-access-")
    namespace = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    assert volume["projected"] == {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", **namespace}]}},
        ],
    }  # fmt: skip
    for container in (*made.spec.containers, *made.spec.init_containers):
        [mount] = container.volume_mounts
        assert (mount.name, mount.mount_path, mount.read_only) == (volume["name"], TOKEN_PATH, True)


OWN = {"name": "own", "mountPath": TOKEN_PATH}
OTHER = {"name": "own", "mountPath": "/other"}


@pytest.mark.parametrize(("mount", "volumes", "mounts"), [(OWN, 0, 1), (OTHER, 1, 2)])
async def test_who_mounts_something_there_gets_no_token(
    mount: dict[str, str], volumes: int, mounts: int
) -> None:
    made = pod(containers=[{"name": "c", "image": "i", "volumeMounts": [mount]}])
    await admitted(made, account())
    assert (len(made.spec.volumes), len(made.spec.containers[0].volume_mounts)) == (volumes, mounts)


@pytest.mark.parametrize(
    ("volume", "used"),
    [
        ({"name": "kube-api-access-x", "projected": {"sources": []}}, True),
        ({"name": "kube-api-access-x", "emptyDir": {}}, False),
        ({"name": "other", "projected": {"sources": []}}, False),
    ],
)
async def test_a_token_volume_that_is_there_is_used(volume: dict[str, Any], used: bool) -> None:
    made = pod(volumes=[volume])
    await admitted(made, account())
    assert (made.spec.containers[0].volume_mounts[0].name == volume["name"]) == used
    assert len(made.spec.volumes) == (1 if used else 2)


async def test_secrets_for_images_are_the_accounts_unless_the_pod_has_some() -> None:
    secrets = [core_v1.LocalObjectReference(name="a")]
    none, own = pod(), pod(imagePullSecrets=[{"name": "b"}])
    for made in (none, own):
        await admitted(made, account(image_pull_secrets=secrets))
    assert [one.name for one in none.spec.image_pull_secrets] == ["a"]
    assert [one.name for one in own.spec.image_pull_secrets] == ["b"]


async def test_only_new_pods_are_looked_at() -> None:
    made = pod()
    plugin = plugin_with()
    await plugin.mutate(attributes("UPDATE", made, made))
    await plugin.mutate(attributes("CREATE", made, subresource="binding"))
    mirror = pod()
    mirror.metadata.annotations[MIRROR] = "x"
    await plugin.mutate(attributes("CREATE", mirror))
    assert made.spec.service_account_name == mirror.spec.service_account_name == ""


# --- mirror pods ---

SECRET = {"name": "s", "secret": {"secretName": "s"}}
TOKEN = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
CONFIG = {"name": "c", "projected": {"sources": [{"configMap": {"name": "c"}}]}}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({}, ""),
        ({"volumes": [CONFIG]}, ""),
        ({"serviceAccountName": "a"}, "a mirror pod may not reference service accounts"),
        ({"volumes": [SECRET]}, "a mirror pod may not reference secrets"),
        ({"imagePullSecrets": [{"name": "s"}]}, "a mirror pod may not reference secrets"),
        ({"volumes": [CONFIG, TOKEN]}, "a mirror pod may not use ServiceAccountToken volume projections"),
    ],
)  # fmt: skip
async def test_what_a_mirror_pod_may_not_have(spec: dict[str, Any], problem: str) -> None:
    mirror = pod(**spec)
    mirror.metadata.annotations[MIRROR] = "x"
    plugin = plugin_with()
    said = await refusal(plugin.validate(attributes("CREATE", mirror)))
    assert problem in said and bool(problem) == bool(said)
    assert await refusal(plugin.validate(attributes("UPDATE", mirror, mirror))) == ""
    assert await refusal(plugin.validate(attributes("CREATE", mirror, subresource="x"))) == ""
    assert await refusal(plugin.validate(attributes("CREATE", pod(**spec)))) == ""
