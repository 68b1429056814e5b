"""Bootstrap tokens of a cluster: made, listed and deleted as its administrator."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import string
import time
from typing import NamedTuple

from tiphys.api.base import decode
from tiphys.api.core_v1 import Secret
from tiphys.cluster import apiclient, certificates, controlplane, sharing
from tiphys.cluster.apiclient import Answer
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.machinery import bootstraptokens, durations, timestamps
from tiphys.machinery.addresses import authority
from tiphys.machinery.bootstraptokens import NAME_PREFIX, NODE_GROUP, TYPE, Token

_PATH = f"/api/v1/namespaces/{bootstraptokens.NAMESPACE}/secrets"
_LETTERS = string.ascii_lowercase + string.digits
_NOT_FOUND = 404


class Known(NamedTuple):
    """A token as `tiphys token list` shows it. `expires` is a time, or "never"."""

    token: Token
    expires: str
    usages: str
    description: str


def new() -> Token:
    return Token(*("".join(secrets.choice(_LETTERS) for _ in range(n)) for n in (6, 16)))


class CreatedToken(NamedTuple):
    """A new token. `key` opens the cluster's keys, "" for a token of nodes alone."""

    token: Token
    key: str = ""


def create_for_control_plane(
    cluster: Cluster, seconds: float, description: str = ""
) -> CreatedToken:
    """A token with which a machine joins the control plane. Raises ClusterError."""
    if not 0 < seconds <= sharing.LONGEST:
        raise ClusterError(
            "the keys of the cluster are there for two hours at most: --ttl must be shorter"
        )
    controlplane.check(cluster)
    token = new()
    answer = _create(cluster, token, seconds, description)
    metadata = json.loads(answer.body)["metadata"]
    owner = sharing.Owner(token.id, metadata["name"], metadata["uid"])
    key = sharing.new_key()
    try:
        for path, obj in sharing.objects(cluster, owner, key):
            _ask(cluster, "POST", path, obj)
    except ClusterError:
        delete(cluster, token.id)
        raise
    return CreatedToken(token, key)


def create(cluster: Cluster, seconds: float, description: str = "") -> CreatedToken:
    """A new token for machines that join; `seconds` 0: it never expires. Raises ClusterError."""
    token = new()
    _create(cluster, token, seconds, description)
    return CreatedToken(token)


def _create(cluster: Cluster, token: Token, seconds: float, description: str) -> Answer:
    values = {
        "token-id": token.id,
        "token-secret": token.secret,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": NODE_GROUP,
    }
    if seconds:
        values["expiration"] = timestamps.rfc3339(time.time() + seconds)
    if description:
        values["description"] = description
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {"name": NAME_PREFIX + token.id},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in values.items()},
    }
    return _ask(cluster, "POST", _PATH, secret)


def join_command(cluster: Cluster, created: CreatedToken) -> str:
    """What to run on the machine that is to join. Raises ClusterError when it could not reach this
    one."""
    if not cluster.machine_address:
        raise ClusterError(
            f"cluster {cluster.name} can be reached from this machine alone; give it an address "
            f"that others reach: tiphys down --name {cluster.name} && "
            f"tiphys up --name {cluster.name} --address ADDRESS"
        )
    pin = certificates.pin((cluster.pki / "ca.crt").read_bytes())
    server = authority(cluster.machine_address, cluster.port)
    command = f"tiphys join {server} --token {created.token.text} --ca-hash {pin}"
    if created.key:
        command += f" --control-plane --certificate-key {created.key}"
    return command


def known(cluster: Cluster) -> list[Known]:
    """Every token, also those that have expired and wait to be removed. Raises ClusterError."""
    answer = _ask(cluster, "GET", f"{_PATH}?fieldSelector=type%3D{TYPE.replace('/', '%2F')}")
    rows = []
    for item in json.loads(answer.body)["items"]:
        secret = decode(json.dumps(item).encode(), Secret)
        token = bootstraptokens.token_of(secret)
        if token is not None:
            rows.append(_known(secret, token))
    return sorted(rows)


def _known(secret: Secret, token: Token) -> Known:
    value = bootstraptokens.value
    usages = (bootstraptokens.AUTHENTICATION, bootstraptokens.SIGNING)
    served = ",".join(usage for usage in usages if bootstraptokens.serves(secret, usage))
    expires = value(secret, "expiration") or "never"
    return Known(token, expires, served or "none", value(secret, "description"))


def delete(cluster: Cluster, id: str) -> None:
    """Deletes the token of that id; a whole token will do. Raises ClusterError."""
    id = id.partition(".")[0]
    answer = _ask(cluster, "DELETE", f"{_PATH}/{NAME_PREFIX}{id}", allowed=_NOT_FOUND)
    if answer.status == _NOT_FOUND:
        raise ClusterError(f"there is no token {id}; see: tiphys token list")


def _ask(cluster: Cluster, method: str, path: str, body: object = None, allowed: int = 0) -> Answer:
    try:
        answer = apiclient.request(cluster, method, path, body)
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(
            f"the API server of {cluster.name} does not answer ({error}); "
            f"see: tiphys status --name {cluster.name}"
        ) from None
    if answer.status >= 300 and answer.status != allowed:
        raise ClusterError(answer.message)
    return answer


def seconds_of(text: str) -> float:
    """Of a duration as kubeadm takes it: ``24h``, ``30m``, ``0`` for no end. Raises
    ClusterError."""
    try:
        seconds = durations.seconds(text)
    except durations.DurationError:
        seconds = -1.0
    if seconds < 0:
        raise ClusterError(f"{text!r} is not a duration; write 30m, 24h or 0 for no end")
    return seconds
