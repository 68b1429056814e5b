"""Rights that cannot be given away, and certificates that are asked for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given

from tests.apiserver.builders import call, refused
from tests.apiserver.rights import REQUESTS, ROLES, grant, request, rule, rules, signing
from tiphys.api import core_v1, rbac_v1
from tiphys.api.base import encode
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.apiserver.access.coverage import Owned
from tiphys.testing import LocalCluster

# The model: rules counted out, each held against each.


def single_rules(rules: list[rbac_v1.PolicyRule]) -> Iterator[rbac_v1.PolicyRule]:
    """Rules of one verb on one thing each."""
    for each in rules:
        for verb in each.verbs:
            for url in each.non_resource_urls:
                yield rbac_v1.PolicyRule(verbs=[verb], non_resource_urls=[url])
            for group in each.api_groups:
                for resource in each.resources:
                    for name in each.resource_names or [""]:
                        names = [name] if name else []
                        yield rbac_v1.PolicyRule(
                            verbs=[verb],
                            api_groups=[group],
                            resources=[resource],
                            resource_names=names,
                        )


def covers(owned: rbac_v1.PolicyRule, wanted: rbac_v1.PolicyRule) -> bool:
    """Whether a rule gives everything that a single rule gives."""
    if not _has(owned.verbs, wanted.verbs[0]):
        return False
    if wanted.non_resource_urls:
        url = wanted.non_resource_urls[0]
        return any(
            u in ("*", url) or (u.endswith("*") and url.startswith(u[:-1]))
            for u in owned.non_resource_urls
        )
    if not _has(owned.api_groups, wanted.api_groups[0]):
        return False
    resource = wanted.resources[0]
    sub = resource.partition("/")[2]
    if not (_has(owned.resources, resource) or (sub and f"*/{sub}" in owned.resources)):
        return False
    return not owned.resource_names or (
        bool(wanted.resource_names) and wanted.resource_names[0] in owned.resource_names
    )


def _has(values: list[str], value: str) -> bool:
    return "*" in values or value in values


def test_what_covers_what() -> None:
    assert all(
        covers(rule("get list", "pods"), one) for one in single_rules([rule("get", "pods", "a")])
    )
    assert not covers(rule("get", "pods", "a"), rule("get", "pods"))
    assert covers(rule("*", "*"), rule("get", "pods/log")) and not covers(
        rule("get", "pods"), rule("get", "pods/log")
    )
    assert not covers(rule("get", "pods"), rule("get", "pods", group="apps"))


@given(rules, rules)
def test_what_is_missing_is_what_no_rule_covers(
    owned: list[rbac_v1.PolicyRule], wanted: list[rbac_v1.PolicyRule]
) -> None:
    expected = [one for one in single_rules(wanted) if not any(covers(rule, one) for rule in owned)]
    missing = list(Owned(owned).missing(wanted))
    assert {encode(one) for one in missing} == {encode(one) for one in expected}


async def test_nobody_gives_away_more_than_they_have(server: LocalCluster) -> None:
    rbac = "rbac.authorization.k8s.io"
    await grant(
        server,
        "jane",
        rule("*", "clusterroles clusterrolebindings", group=rbac),
        rule("get", "pods"),
    )
    jane = server.client_as("jane")
    wish = rbac_v1.ClusterRole(metadata=ObjectMeta(name="wish"), rules=[rule("get", "pods")])
    assert await jane.create(wish)
    wish = rbac_v1.ClusterRole(metadata=ObjectMeta(name="more"), rules=[rule("get", "secrets")])
    await grant(
        server, "limited", rule("create update", "clusterroles clusterrolebindings", group=rbac)
    )
    limited = server.client_as("limited")
    error = await refused(limited.request("POST", ROLES, encode(wish)))
    assert (
        error.code == 403
        and "is attempting to grant RBAC permissions not currently held" in str(error)
    )
    assert '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}' in str(error)
    binding = rbac_v1.ClusterRoleBinding(metadata=ObjectMeta(name="masters"))
    binding.role_ref = rbac_v1.RoleRef(kind="ClusterRole", name="cluster-admin")
    binding.subjects = [rbac_v1.Subject(kind="User", name="limited")]
    assert (await refused(limited.create(binding))).code == 403


async def test_an_approved_request_is_signed() -> None:
    async with LocalCluster(controllers=True) as server:
        made = await call(
            server, "POST", REQUESTS, signing("a", request("jane", "team"), expirationSeconds=3600)
        )
        assert made["spec"]["username"] == "kubernetes-admin"
        made["status"] = {
            "conditions": [
                {"type": "Approved", "status": "True", "reason": "test", "message": "yes"}
            ]
        }
        await call(server, "PUT", f"{REQUESTS}/a/approval", made)

        async def signed() -> Any:
            return (await call(server, "GET", f"{REQUESTS}/a")).get("status", {}).get("certificate")

        certificate = x509.load_pem_x509_certificate(
            base64.b64decode(await server.eventually(signed))
        )
        assert certificate.subject.rfc4514_string() == "CN=jane,O=team"
        authority = x509.load_pem_x509_certificate(server.authority.path.read_bytes())
        certificate.verify_directly_issued_by(authority)


async def test_a_node_renews_its_own_certificate_by_itself() -> None:
    async with LocalCluster(controllers=True) as server:
        node = server.client_as("system:node:n1", ("system:nodes",))
        wish = signing(
            "n",
            request("system:node:n1", "system:nodes"),
            "kubernetes.io/kube-apiserver-client-kubelet",
        )
        import json

        await node.request("POST", REQUESTS, json.dumps(wish).encode())

        async def signed() -> Any:
            return (await call(server, "GET", f"{REQUESTS}/n")).get("status", {}).get("certificate")

        assert await server.eventually(signed)


async def test_bad_requests_are_refused(server: LocalCluster) -> None:
    for body, part in (
        (
            signing("a", base64.b64encode(b"x").decode()),
            "PEM block type must be CERTIFICATE REQUEST",
        ),
        (signing("a", request("jane"), "x"), "must be a fully qualified domain and path"),
        (signing("a", request("jane"), usages=["walk"]), "spec.usages[0]: Unsupported value"),
        (signing("a", request("jane", "system:masters")), "system:masters group is not allowed"),
    ):
        assert part in str(await refused(call(server, "POST", REQUESTS, body)))


@pytest.mark.parametrize(
    ("certificate", "detail"),
    [
        (b"x", "must contain at least one CERTIFICATE PEM block"),
        (
            b"-----BEGIN KEY-----\neA==\n-----END KEY-----\n",
            'only CERTIFICATE PEM blocks are allowed, found "KEY"',
        ),
        (
            b"-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n",
            "x509: malformed certificate",
        ),
    ],
)
async def test_what_is_signed_is_certificates(
    server: LocalCluster, certificate: bytes, detail: str
) -> None:
    await call(server, "POST", REQUESTS, signing("a", request("jane")))
    made = await call(server, "GET", f"{REQUESTS}/a")
    made["status"] = {"certificate": base64.b64encode(certificate).decode()}
    failure = await refused(call(server, "PUT", f"{REQUESTS}/a/status", made))
    assert f'status.certificate: Invalid value: "<certificate data>": {detail}' in str(failure)


async def test_owners_are_guarded_where_that_is_asked_for() -> None:
    async with LocalCluster(enable_admission=("OwnerReferencesPermissionEnforcement",)) as server:
        await grant(server, "jane", rule("create update get", "configmaps"))
        jane = server.client_as("jane")
        owner = await server.client.create(
            core_v1.ConfigMap(metadata=ObjectMeta(name="owner", namespace="default"))
        )
        made = await jane.create(
            core_v1.ConfigMap(metadata=ObjectMeta(name="a", namespace="default"))
        )
        reference = OwnerReference(
            api_version="v1", kind="ConfigMap", name="owner", uid=owner.metadata.uid
        )
        made.metadata.owner_references = [reference]
        error = await refused(jane.update(made))
        assert error.code == 403 and "cannot set an ownerRef on a resource you can't delete" in str(
            error
        )
        reference.block_owner_deletion = True
        child = ObjectMeta(name="b", namespace="default", owner_references=[reference])
        error = await refused(jane.create(core_v1.ConfigMap(metadata=child)))
        assert (
            "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
            in str(error)
        )
        await grant(
            server,
            "jim",
            rule("create update get delete", "configmaps"),
            rule("update", "configmaps/finalizers"),
        )
        assert await server.client_as("jim").create(core_v1.ConfigMap(metadata=child))


async def test_a_plugin_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="unknown admission plugins: Nonesuch"):
        async with LocalCluster(disable_admission=("Nonesuch",)):
            pass


async def test_default_roles_are_completed_at_start(tmp_path: Path) -> None:
    async with LocalCluster(store="sqlite", root=tmp_path) as cluster:
        role = await cluster.client.get(rbac_v1.ClusterRole, "system:kube-scheduler")
        whole, role.rules = (
            list(role.rules),
            [role.rules[0], rule("get", "extras", group="x.example.com")],
        )
        await cluster.client.update(role)
        binding = await cluster.client.get(rbac_v1.ClusterRoleBinding, "system:kube-scheduler")
        binding.subjects = [
            rbac_v1.Subject(kind="User", name="mine", api_group="rbac.authorization.k8s.io")
        ]
        await cluster.client.update(binding)
        kept = await cluster.client.get(rbac_v1.ClusterRole, "system:node-proxier")
        kept.rules, kept.metadata.annotations["rbac.authorization.kubernetes.io/autoupdate"] = (
            [],
            "false",
        )
        await cluster.client.update(kept)
    async with LocalCluster(store="sqlite", root=tmp_path) as cluster:
        role = await cluster.client.get(rbac_v1.ClusterRole, "system:kube-scheduler")
        assert role.rules == [whole[0], rule("get", "extras", group="x.example.com"), *whole[1:]]
        binding = await cluster.client.get(rbac_v1.ClusterRoleBinding, "system:kube-scheduler")
        assert [subject.name for subject in binding.subjects] == ["mine", "system:kube-scheduler"]
        assert not (await cluster.client.get(rbac_v1.ClusterRole, "system:node-proxier")).rules
        unchanged = await cluster.client.get(rbac_v1.ClusterRole, "view")
    async with LocalCluster(store="sqlite", root=tmp_path) as cluster:
        again = await cluster.client.get(rbac_v1.ClusterRole, "view")
        assert again.metadata.resource_version == unchanged.metadata.resource_version
        role = await cluster.client.get(rbac_v1.ClusterRole, "system:kube-scheduler")
        assert len(role.rules) == len(whole) + 1
