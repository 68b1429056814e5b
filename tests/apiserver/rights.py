"""Roles and requests for certificates that tests of rights share."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import strategies as st

from tiphys.api import rbac_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def rule(verbs: str, resources: str, *names: str, group: str = "") -> rbac_v1.PolicyRule:
    return rbac_v1.PolicyRule(
        verbs=verbs.split(),
        api_groups=[group],
        resources=resources.split(),
        resource_names=list(names),
    )


words = st.lists(st.sampled_from(["a", "b", "a/x", "*/x", "*"]), min_size=1, max_size=3)


rules = st.lists(
    st.builds(
        lambda verbs, groups, resources, names, urls: rbac_v1.PolicyRule(
            verbs, groups, resources, names, urls
        ),
        words,
        words,
        words,
        st.lists(st.sampled_from("nm"), max_size=2),
        st.lists(st.sampled_from(["/a", "/a/*", "*"]), max_size=2),
    ),
    max_size=4,
)


async def grant(server: LocalCluster, user: str, *rules: rbac_v1.PolicyRule) -> None:
    role = rbac_v1.ClusterRole(metadata=ObjectMeta(name=user), rules=list(rules))
    await server.client.create(role)
    binding = rbac_v1.ClusterRoleBinding(metadata=ObjectMeta(name=user))
    binding.role_ref = rbac_v1.RoleRef(kind="ClusterRole", name=user)
    binding.subjects = [rbac_v1.Subject(kind="User", name=user)]
    await server.client.create(binding)


def request(common: str, *groups: str) -> str:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common)])
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def signing(
    name: str, pem: str, signer: str = "kubernetes.io/kube-apiserver-client", **spec: Any
) -> dict[str, Any]:
    body = {
        "request": pem,
        "signerName": signer,
        "usages": ["client auth", "digital signature"],
        **spec,
    }
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": body,
    }
