"""How a machine that joins the control plane gets the keys of the cluster's authorities: as with
kubeadm, in a Secret that is encrypted with a key which stands in the join command alone.

The Secret, and the right of that command's token to read it, belong to the token: they go when it
expires, after two hours at most.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tiphys.cluster import encryption
from tiphys.cluster.certificates import write_private
from tiphys.cluster.state import Cluster, ClusterError, Control

LONGEST = 7200.0  # seconds that a token lasts which can read the keys; kubeadm's --upload-certs
_PREFIX = "tiphys-certs-"
_NONCE = 12  # bytes before each ciphertext, as AES-GCM has them
_KEY = 32  # bytes of the certificate key
_RBAC = "rbac.authorization.k8s.io"
_SETTINGS = "settings.json"
_ENCRYPTION = "encryption.yaml"
# What cannot be made again, below `pki`.
_FILES = (
    "ca.crt",
    "ca.key",
    "sa.key",
    "front-proxy/ca.crt",
    "front-proxy/ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
)


class Owner(NamedTuple):
    """The Secret of a bootstrap token: its id, name and uid."""

    id: str
    name: str
    uid: str


def new_key() -> str:
    return secrets.token_hex(_KEY)


# --- what is shared ---


def contents(cluster: Cluster) -> dict[str, bytes]:
    """By the names of their files."""
    shared = {name: (cluster.pki / name).read_bytes() for name in _FILES}
    control = cluster.control or Control(",".join(cluster.joining_pods))
    settings = {
        "podNetwork": control.pod_network,
        "certificateDays": cluster.certificate_days,
    }
    shared[_SETTINGS] = json.dumps(settings).encode()
    if cluster.encryption_config:
        shared[_ENCRYPTION] = Path(cluster.encryption_config).read_bytes()
    return shared


def take(cluster: Cluster, shared: Mapping[str, bytes]) -> None:
    """Makes a machine that has joined one of the control plane. Raises ClusterError for what is of
    another cluster, or not whole."""
    missing = [name for name in (*_FILES, _SETTINGS) if name not in shared]
    if missing:
        raise ClusterError(f"the cluster's keys are not whole ({missing[0]} is missing)")
    if shared["ca.crt"] != (cluster.pki / "ca.crt").read_bytes():
        raise ClusterError("the keys are of another authority than the cluster's")
    for name in _FILES:
        file = cluster.pki / name
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, shared[name])
    settings = json.loads(shared[_SETTINGS])
    cluster.control = Control(settings["podNetwork"])
    cluster.certificate_days = settings["certificateDays"]
    cluster.store = "etcd"
    if _ENCRYPTION in shared:
        file = encryption.own_file(cluster)
        write_private(file, shared[_ENCRYPTION])
        cluster.encryption_config = str(file)


# --- encrypted ---


def seal(shared: Mapping[str, bytes], key: str) -> dict[str, str]:
    """The data of a Secret. Each value knows its name: none can be taken for another."""
    cipher = AESGCM(bytes.fromhex(key))
    return {
        _data_key(name): base64.b64encode(_sealed(cipher, name, value)).decode()
        for name, value in shared.items()
    }


def _sealed(cipher: AESGCM, name: str, value: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + cipher.encrypt(nonce, value, name.encode())


def unseal(data: Mapping[str, str], key: str) -> dict[str, bytes]:
    """Raises ClusterError when the key does not open it."""
    try:
        cipher = AESGCM(bytes.fromhex(key))
        return {_name(field): _unsealed(cipher, field, text) for field, text in data.items()}
    except (ValueError, InvalidTag):
        raise ClusterError(
            "the certificate key does not open the cluster's keys: compare it with what tiphys "
            "token create --control-plane printed, or make a new one there"
        ) from None


def _unsealed(cipher: AESGCM, field: str, text: str) -> bytes:
    sealed = base64.b64decode(text)
    return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _name(field).encode())


# Keys of a Secret have no slashes; none of our names has two dots.


def _data_key(name: str) -> str:
    return name.replace("/", "..")


def _name(data_key: str) -> str:
    return data_key.replace("..", "/")


# --- objects ---


def path(id: str) -> str:
    """Of the Secret for the token of that id."""
    return f"/api/v1/namespaces/kube-system/secrets/{_PREFIX}{id}"


def objects(cluster: Cluster, owner: Owner, key: str) -> list[tuple[str, dict[str, Any]]]:
    """What is to be made, each with the path of its collection: the Secret, and the right of the
    token to read it."""
    name = f"{_PREFIX}{owner.id}"
    reference = {"apiVersion": "v1", "kind": "Secret", "name": owner.name, "uid": owner.uid}
    metadata = {"name": name, "namespace": "kube-system", "ownerReferences": [reference]}
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}
    user = {"kind": "User", "name": f"system:bootstrap:{owner.id}", "apiGroup": _RBAC}
    roles = f"/apis/{_RBAC}/v1/namespaces/kube-system"
    role = {"kind": "Role", "rules": [rule]}
    binding = {
        "kind": "RoleBinding",
        "subjects": [user],
        "roleRef": {"kind": "Role", "name": name, "apiGroup": _RBAC},
    }
    of_rbac = {"apiVersion": f"{_RBAC}/v1", "metadata": metadata}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "data": seal(contents(cluster), key),
    }
    return [
        ("/api/v1/namespaces/kube-system/secrets", secret),
        (f"{roles}/roles", of_rbac | role),
        (f"{roles}/rolebindings", of_rbac | binding),
    ]
