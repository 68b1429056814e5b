"""Attempts to get a certificate, or a node's sight of others' objects, that one should not have."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509

from tests.apiserver.builders import call, refused
from tests.apiserver.rights import REQUESTS, request, rule, signing
from tests.attack.accounts import REVIEWS, account, jane_who_may
from tests.attack.wire import ask
from tests.builders import pod
from tiphys.api import core_v1, rbac_v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import Client
from tiphys.machinery.podrefs import MIRROR
from tiphys.testing import LocalCluster

# --- certificates ---


def decided(made: dict[str, Any], *kinds: str, **status: Any) -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True", "reason": "r", "message": "m"} for kind in kinds]
    return {**made, "status": {"conditions": conditions, **status}}


async def requested(server: LocalCluster, signer: str = "example.com/s") -> dict[str, Any]:
    return dict(await call(server, "POST", REQUESTS, signing("a", request("jane"), signer)))


def signers(verb: str, *names: str) -> rbac_v1.PolicyRule:
    return rule(verb, "signers", *names, group="certificates.k8s.io")


CSRS = rule(
    "get update patch",
    "certificatesigningrequests certificatesigningrequests/status certificatesigningrequests/approval",
    group="certificates.k8s.io",
)


async def test_who_signs_does_not_approve(server: LocalCluster) -> None:
    jane = await jane_who_may(server, CSRS, signers("sign", "example.com/*"))
    made = await requested(server)
    for kind in ("Approved", "Denied"):
        answer = await ask(jane, "PUT", f"{REQUESTS}/a/status", body=decided(made, kind))
        assert (
            answer.status == 422
            and f'updates may not add a condition of type "{kind}"' in answer.json["message"]
        )
    assert (
        await ask(jane, "PUT", f"{REQUESTS}/a/approval", body=decided(made, "Approved"))
    ).status == 403
    assert (
        await ask(jane, "PUT", f"{REQUESTS}/a/status", body=decided(made, "Failed"))
    ).status == 200


async def test_who_approves_does_not_sign(server: LocalCluster) -> None:
    jane = await jane_who_may(server, CSRS, signers("approve", "example.com/s"))
    made = await requested(server)
    certificate = base64.b64encode(server.authority.path.read_bytes()).decode()
    for status in (decided(made, "Failed"), decided(made, certificate=certificate)):
        answer = await ask(jane, "PUT", f"{REQUESTS}/a/status", body=status)
        assert (
            answer.status == 403 and "user not permitted to sign requests" in answer.json["message"]
        )
    answer = await ask(
        jane,
        "PUT",
        f"{REQUESTS}/a/approval",
        body=decided(made, "Approved", certificate=certificate),
    )
    assert answer.status == 200 and "certificate" not in answer.json["status"]


async def test_what_was_decided_stays_decided(server: LocalCluster) -> None:
    made = await call(
        server, "PUT", f"{REQUESTS}/a/approval", decided(await requested(server), "Denied")
    )
    for path, status in (
        ("approval", decided(made)),
        ("approval", decided(made, "Denied", "Approved")),
        ("status", decided(made)),
    ):
        assert (await ask(server.client, "PUT", f"{REQUESTS}/a/{path}", body=status)).status == 422
    changed = await call(
        server,
        "PUT",
        f"{REQUESTS}/a",
        {**decided(made, "Approved"), "spec": {**made["spec"], "username": "x"}},
    )
    assert (changed["spec"], changed["status"]) == (made["spec"], made["status"])


async def test_some_signers_cannot_be_asked(server: LocalCluster) -> None:
    for signer, why in [
        (
            "kubernetes.io/legacy-unknown",
            "the legacy signerName is not allowed via this API version",
        ),
        ("*/*", 'validating label "*"'),
        ("example.com/*", 'validating label "*"'),
        ("example/x", "at least two segments"),
    ]:
        answer = await ask(
            server.client, "POST", REQUESTS, body=signing("a", request("jane"), signer)
        )
        assert answer.status == 422 and why in answer.json["message"]


async def test_a_certificate_for_client_auth_alone_is_one() -> None:
    async with LocalCluster(controllers=True) as server:
        for name, usages in (
            ("a", ["client auth"]),
            ("b", ["client auth", "server auth"]),
            ("c", ["client auth", "cert sign"]),
        ):
            body = signing(name, request("jane"), usages=usages)
            await call(
                server,
                "PUT",
                f"{REQUESTS}/{name}/approval",
                decided(await call(server, "POST", REQUESTS, body), "Approved"),
            )

        async def status(name: str) -> Any:
            found = (await call(server, "GET", f"{REQUESTS}/{name}"))["status"]
            return found if len(found["conditions"]) > 1 or "certificate" in found else None

        signed = base64.b64decode((await server.eventually(lambda: status("a")))["certificate"])
        extensions = x509.load_pem_x509_certificate(signed).extensions
        assert not any(isinstance(extension.value, x509.KeyUsage) for extension in extensions)
        for name in ("b", "c"):
            assert (
                "invalid usage"
                in (await server.eventually(lambda name=name: status(name)))["conditions"][1][
                    "message"
                ]
            )


# --- nodes ---


async def one(server: LocalCluster, **spec: Any) -> Client:
    """The node `one`, with the pod `p` of a spec on it."""
    await account(server, "default")
    await server.client.create(core_v1.Node(metadata=ObjectMeta(name="one")))
    await server.client.create(pod("p", nodeName="one", **spec))
    return server.client_as("system:node:one", ("system:nodes",))


async def test_a_mirror_pod_names_nothing(server: LocalCluster) -> None:
    node = await one(server)
    uid = (await server.client.get(core_v1.Node, "one")).metadata.uid
    owner = OwnerReference(api_version="v1", kind="Node", name="one", uid=uid, controller=True)
    for spec, noun in [
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
                    }
                ]
            },
            "ServiceAccountToken",
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "projected": {
                            "sources": [{"clusterTrustBundle": {"name": "b", "path": "t"}}]
                        },
                    }
                ]
            },
            "clustertrustbundles",
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "projected": {
                            "sources": [
                                {
                                    "podCertificate": {
                                        "signerName": "a.b/c",
                                        "keyType": "ED25519",
                                        "credentialBundlePath": "x",
                                    }
                                }
                            ]
                        },
                    }
                ]
            },
            "podcertificates",
        ),
        ({"volumes": [{"name": "v", "csi": {"driver": "d.example.com"}}]}, "csidrivers"),
        ({"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "t"}]}, "resourceclaims"),
        ({"serviceAccountName": "default"}, "service account"),
        ({"imagePullSecrets": [{"name": "s"}]}, "secrets"),
    ]:
        mirror = pod("m", nodeName="one", **spec)
        mirror.metadata.annotations, mirror.metadata.owner_references = {MIRROR: "x"}, [owner]
        error = await refused(node.create(mirror))
        assert error.code == 403 and noun in str(error)


async def test_nobody_makes_a_mirror_of_a_pod(server: LocalCluster) -> None:
    await one(server)
    mirror = pod("m")
    mirror.metadata.annotations = {MIRROR: "x"}
    assert "must set spec.nodeName if mirror pod annotation is set" in str(
        await refused(server.client.create(mirror))
    )
    change = {"metadata": {"annotations": {MIRROR: "x"}}}
    for part in ("", "status"):
        assert "may not add mirror pod annotation" in str(
            await refused(server.client.patch(core_v1.Pod, "p", change, "default", part))
        )


async def test_a_node_opens_no_claims_to_itself(server: LocalCluster) -> None:
    node = await one(server, resourceClaims=[{"name": "c", "resourceClaimTemplateName": "t"}])
    status = {"status": {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "theirs"}]}}
    error = await refused(node.patch(core_v1.Pod, "p", status, "default", "status"))
    assert error.code == 403 and "cannot update resource claim statues" in str(error)


async def test_a_node_does_not_delete_itself(server: LocalCluster) -> None:
    assert (await refused((await one(server)).delete(core_v1.Node, "one"))).code == 403


async def test_a_node_asks_for_certificates_of_its_own(server: LocalCluster) -> None:
    node = await one(server)
    for signer in ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"):
        answer = await ask(
            node,
            "POST",
            REQUESTS,
            body=signing("n", request("system:node:two", "system:nodes"), signer),
        )
        assert (
            answer.status == 403
            and "can only create a node CSR with CN=system:node:one" in answer.json["message"]
        )


async def test_a_node_names_its_pods_by_selector_alone(server: LocalCluster) -> None:
    node = await one(server)
    for selector, status in (
        ("spec.nodeName%3Done", 200),
        ("spec.nodeName!=two", 403),
        ("spec.nodeName%3Done,spec.nodeName%3Dtwo", 200),
    ):
        assert (await ask(node, "GET", f"/api/v1/pods?fieldSelector={selector}")).status == status
    assert (
        await ask(node, "GET", "/api/v1/watch/pods?fieldSelector=spec.nodeName%3Done")
    ).status == 403


async def test_a_review_of_a_node_reads_its_selector(server: LocalCluster) -> None:
    await one(server)
    requirement = {"key": "spec.nodeName", "operator": "In", "values": ["one"]}
    for selector, allowed in (
        ({"requirements": [requirement]}, True),
        ({"rawSelector": "spec.nodeName=one"}, True),
        (None, False),
    ):
        spec = {"user": "system:node:one", "groups": ["system:nodes"]}
        attributes = {
            "verb": "list",
            "resource": "pods",
            **({"fieldSelector": selector} if selector else {}),
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {**spec, "resourceAttributes": attributes},
        }
        assert (await call(server, "POST", REVIEWS, body))["status"]["allowed"] is allowed


async def test_a_selector_is_said_once(server: LocalCluster) -> None:
    for selector in [
        {},
        {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]},
    ]:
        attributes = {
            "verb": "list",
            "resource": "pods",
            "fieldSelector": selector,
            "labelSelector": selector,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": "x", "resourceAttributes": attributes},
        }
        answer = await ask(server.client, "POST", REVIEWS, body=body)
        assert answer.status == 422 and len(answer.json["details"]["causes"]) == 2


async def test_a_local_review_is_about_its_namespace(server: LocalCluster) -> None:
    path = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    for spec in (
        {"nonResourceAttributes": {"path": "/", "verb": "get"}},
        {"resourceAttributes": {"namespace": "other", "verb": "get"}},
    ):
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "LocalSubjectAccessReview",
            "spec": {"user": "x", **spec},
        }
        assert (await ask(server.client, "POST", path, body=body)).status == 422
