"""The smaller plugins: what each adds to a new object, and what it refuses."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import Rights, attributes, refusal, registry_of
from tests.apiserver.rights import request
from tests.builders import config_map, node, pod
from tiphys.api import certificates_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.admission.certificates import Certificates
from tiphys.apiserver.admission.classes import StorageObjectInUseProtection
from tiphys.apiserver.admission.namespaces import NamespaceLifecycle
from tiphys.apiserver.admission.nodetaints import TaintNodesByCondition
from tiphys.apiserver.admission.tolerations import DefaultTolerationSeconds
from tiphys.apiserver.admission.topology import PodTopologyLabels
from tiphys.apiserver.http.request import User

NOT_READY = "node.kubernetes.io/not-ready"


@pytest.mark.parametrize(
    ("taints", "count"),
    [
        ([], 1),
        ([(NOT_READY, "NoSchedule")], 1),
        ([(NOT_READY, "NoExecute")], 2),
        ([("other", "NoSchedule")], 2),
    ],
)
async def test_a_new_node_is_not_ready(taints: list[tuple[str, str]], count: int) -> None:
    made = node("n")
    made.spec.taints = [core_v1.Taint(key=key, effect=effect) for key, effect in taints]
    plugin = TaintNodesByCondition()
    await plugin.mutate(attributes("UPDATE", made, made))
    await plugin.mutate(attributes("CREATE", made, subresource="status"))
    assert len(made.spec.taints) == len(taints)
    await plugin.mutate(attributes("CREATE", made))
    assert len(made.spec.taints) == count
    assert any((t.key, t.effect) == (NOT_READY, "NoSchedule") for t in made.spec.taints)


ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"


@pytest.mark.parametrize(
    ("of_node", "bound", "labels"),
    [
        ({ZONE: "z", REGION: "r", "other": "x"}, "n", {"a": "b", ZONE: "z", REGION: "r"}),
        ({ZONE: "z"}, "n", {"a": "b", ZONE: "z"}),
        ({}, "n", {"a": "b"}),
        ({ZONE: "z"}, "gone", {"a": "b"}),
        ({ZONE: "z"}, "", {"a": "b"}),
    ],
)
async def test_a_pod_has_the_zone_of_its_node(of_node: Any, bound: str, labels: Any) -> None:
    machine = node("n")
    machine.metadata.labels = of_node
    registry = registry_of(stored(machine))
    plugin = PodTopologyLabels(lambda: registry)
    made = pod(nodeName=bound, labels={"a": "b"})
    await plugin.mutate(attributes("UPDATE", made, made))
    await plugin.mutate(attributes("CREATE", made, subresource="eviction"))
    assert made.metadata.labels == {"a": "b"}
    await plugin.mutate(attributes("CREATE", made))
    assert made.metadata.labels == labels
    binding = core_v1.Binding(metadata=ObjectMeta(name="p", namespace="default", labels={"a": "b"}))
    binding.target.name = bound
    await plugin.mutate(attributes("CREATE", binding, subresource="binding"))
    assert binding.metadata.labels == labels


def tolerates(key: str, effect: str) -> dict[str, Any]:
    return {"key": key, "operator": "Exists", "effect": effect}


UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    ("said", "added"),
    [
        ([], [NOT_READY, UNREACHABLE]),
        ([tolerates("other", "NoExecute")], [NOT_READY, UNREACHABLE]),
        ([tolerates(NOT_READY, "NoExecute")], [UNREACHABLE]),
        ([tolerates(NOT_READY, "NoSchedule")], [NOT_READY, UNREACHABLE]),
        ([tolerates(UNREACHABLE, "")], [NOT_READY]),
        ([tolerates("", "")], []),
        ([tolerates("", "NoExecute")], []),
        ([tolerates("", "NoSchedule")], [NOT_READY, UNREACHABLE]),
    ],
)
async def test_a_pod_stays_five_minutes_on_a_lost_node(said: Any, added: list[str]) -> None:
    made = pod(tolerations=said)
    plugin = DefaultTolerationSeconds()
    await plugin.mutate(attributes("CREATE", made, subresource="binding"))
    await plugin.mutate(attributes("DELETE", None, made))
    assert len(made.spec.tolerations) == len(said)
    await plugin.mutate(attributes("CREATE", made))
    new = made.spec.tolerations[len(said) :]
    assert [one.key for one in new] == added
    assert {(one.operator, one.effect, one.toleration_seconds) for one in new} <= {
        ("Exists", "NoExecute", 300)
    }
    await plugin.mutate(attributes("UPDATE", made, made))
    assert len(made.spec.tolerations) == len(said) + len(added)


@pytest.mark.parametrize(
    ("made", "finalizer"),
    [
        (core_v1.PersistentVolumeClaim(), "kubernetes.io/pvc-protection"),
        (core_v1.PersistentVolume(), "kubernetes.io/pv-protection"),
    ],
)
async def test_what_is_used_is_held(made: Any, finalizer: str) -> None:
    plugin = StorageObjectInUseProtection()
    await plugin.mutate(attributes("UPDATE", made, made))
    await plugin.mutate(attributes("CREATE", made, subresource="status"))
    assert made.metadata.finalizers == []
    await plugin.mutate(attributes("CREATE", made))
    await plugin.mutate(attributes("CREATE", made))
    assert made.metadata.finalizers == [finalizer]


async def test_what_is_in_no_namespace_needs_none() -> None:
    registry = registry_of(stored())
    plugin = NamespaceLifecycle(lambda: registry)
    new = core_v1.Namespace(metadata=ObjectMeta(name="new"))
    assert await refusal(plugin.mutate(attributes("CREATE", new, namespace="new"))) == ""
    assert await refusal(plugin.mutate(attributes("CREATE", config_map("c", "")))) == ""
    assert "not found" in await refusal(plugin.mutate(attributes("CREATE", config_map("c", "x"))))


# --- requests for certificates ---

CLIENT = "kubernetes.io/kube-apiserver-client"
MASTERS = "system:masters"


def signing(signer: str = "a.b/c", *groups: str, **status: Any) -> certificates_v1.CertificateSigningRequest:  # fmt: skip
    body = {
        "metadata": {"name": "r"},
        "spec": {"signerName": signer, "request": request("jane", *groups)},
        "status": status,
    }
    return from_builtins(body, certificates_v1.CertificateSigningRequest)  # type: ignore[no-any-return]


async def test_who_asks_for_a_certificate_is_written_down() -> None:
    user = User("u", ("g",), "7", {"k": ["v"]})
    made = signing()
    plugin = Certificates(lambda: Rights())  # type: ignore[arg-type,return-value]
    await plugin.mutate(attributes("UPDATE", made, made, user=user))
    await plugin.mutate(attributes("CREATE", made, user=user, subresource="approval"))
    assert made.spec.username == ""
    await plugin.mutate(attributes("CREATE", made, user=user))
    spec = made.spec
    assert (spec.username, spec.groups, spec.uid, spec.extra) == ("u", ["g"], "7", {"k": ["v"]})


SIGNED = base64.b64encode(b"x").decode()
CONDITION = {"conditions": [{"type": "Failed", "status": "True"}]}


@pytest.mark.parametrize(
    ("operation", "subresource", "new", "rights", "refused"),
    [
        ("CREATE", "", signing(CLIENT, MASTERS), (), f"use of {CLIENT} signer with {MASTERS} group is not allowed"),
        ("CREATE", "", signing(CLIENT, "devs"), (), ""),
        ("CREATE", "", signing("a.b/c", MASTERS), (), ""),
        ("UPDATE", "", signing(certificate=SIGNED), (), ""),
        ("UPDATE", "approval", signing(), (), 'user not permitted to approve requests with signerName "a.b/c"'),
        ("UPDATE", "approval", signing(), ("approve *signers /a.b/c",), ""),
        ("UPDATE", "approval", signing(), ("approve *signers /a.b/[*]",), ""),
        ("UPDATE", "approval", signing(), ("sign *",), "user not permitted to approve"),
        ("UPDATE", "status", signing(), (), ""),
        ("UPDATE", "status", signing(certificate=SIGNED), (), "user not permitted to sign"),
        ("UPDATE", "status", signing(**CONDITION), (), "user not permitted to sign"),
        ("UPDATE", "status", signing(certificate=SIGNED), ("sign *signers /a.b/c",), ""),
        ("UPDATE", "status", signing(certificate=SIGNED), ("sign *signers /a.c/[*]",), "user not permitted to sign"),
    ],
)  # fmt: skip
async def test_who_approves_and_signs(
    operation: str, subresource: str, new: Any, rights: tuple[str, ...], refused: str
) -> None:
    plugin = Certificates(lambda: Rights(*rights))  # type: ignore[arg-type,return-value]
    old = signing() if operation == "UPDATE" else None
    said = await refusal(plugin.validate(attributes(operation, new, old, subresource=subresource)))
    assert refused in said and bool(said) == bool(refused)
