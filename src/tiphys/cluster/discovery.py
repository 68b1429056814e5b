"""How a machine finds out, with a token alone, which cluster it is to join and whom to believe.

kubeadm's protocol: cluster-info is read from a server that is not known yet, and believed because
it is signed with the token's secret; the authority in it has to have the hash that the user gave;
and everything from then on comes from a server with a certificate of that authority.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tiphys.cluster import certificates
from tiphys.cluster.state import ClusterError, Joined
from tiphys.machinery import bootstraptokens
from tiphys.machinery.addresses import authority
from tiphys.machinery.bootstraptokens import SIGNATURE_PREFIX, Token
from tiphys.machinery.names import is_ip

_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
_CONFIG = "/api/v1/namespaces/kube-system/configmaps/tiphys-config"
_SECONDS = 5.0  # that a server may take to answer
_SIGNED_WITHIN = 5.0  # seconds in which a token that was just made is known to the signer
# Certificates are valid from five minutes before they are signed: to a clock that is further
# behind they are not yet valid.
_CLOCK_SECONDS = 300
_PORT = 6443  # of a server that is named without one
_OLDER_BY = 3  # minor releases that a node may be behind its server, as a kubelet
_NEW_TOKEN = "make a new one on the server: tiphys token create"
# Of OpenSSL: X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_NOT_YET, _EXPIRED, _MISMATCH = 9, 10, (62, 64)


class Server(NamedTuple):
    host: str
    port: int

    @property
    def text(self) -> str:
        return authority(self.host, self.port)


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Raises ClusterError for what is no object."""
        with contextlib.suppress(ValueError):
            value = json.loads(self.body)
            if isinstance(value, dict):
                return value
        raise ClusterError("the server answered with what is no JSON object; is it an API server?")


@dataclass(frozen=True)
class Discovered:
    """A cluster that is believed. `authority` is its CA certificate in PEM, `own` the address of
    this machine on the way to it."""

    server: Server
    authority: bytes
    own: str
    config: dict[str, str] = field(default_factory=dict)

    def joined(self, node: str) -> Joined:
        """What a machine with that name keeps. Raises ClusterError for a configuration that lacks
        something."""
        config = self.config
        try:
            return Joined(
                node=node,
                servers=config["servers"].split(","),
                service_network=config["serviceNetwork"],
                dns=config["clusterDNS"],
                domain=config["clusterDomain"],
                pod_networks=config["podNetworks"].split(","),
                load_balancer_pools=_listed(config.get("loadBalancerPools", "")),
            )
        except KeyError as error:
            raise ClusterError(
                f"the cluster does not say its {error.args[0]}; upgrade it"
            ) from None


def _listed(text: str) -> list[str]:
    """Of words with commas between them."""
    return [word for word in text.split(",") if word]


def parse_server(text: str) -> Server:
    """``HOST`` or ``HOST:PORT``, also as a URL; an IPv6 address has brackets before a port. Raises
    ClusterError."""
    bare = text.removeprefix("https://").rstrip("/")
    if is_ip(bare):
        return Server(bare, _PORT)
    try:
        parts = urlsplit(f"//{bare}")
        host = parts.hostname
        port = parts.port
    except ValueError:
        host = None
    if not host or parts.netloc != bare or parts.username is not None or port == 0:
        raise ClusterError(f"{text!r} is not a server; write HOST or HOST:PORT")
    return Server(host, port or _PORT)


def parse_token(text: str) -> Token:
    """Raises ClusterError."""
    token = bootstraptokens.parse(text)
    if token is None:
        raise ClusterError(
            f"{text!r} is not a token: these are six and sixteen lower case letters and digits, "
            f"with a dot between; {_NEW_TOKEN}"
        )
    return token


# --- the conversation ---


def reach(server: Server) -> str:
    """This machine's address on the way to a server that can be connected to. Raises
    ClusterError."""
    try:
        with socket.create_connection((server.host, server.port), _SECONDS) as connection:
            return str(connection.getsockname()[0])
    except socket.gaierror:
        reason = f"the name {server.host} cannot be resolved; give the server's address"
    except ConnectionRefusedError:
        reason = (
            f"nothing listens at {server.text}; is the cluster up there, and is this its address?"
        )
    except TimeoutError:
        reason = (
            f"{server.text} does not answer: TCP port {server.port} of the server must be "
            "reachable from here; look at firewalls and at the address"
        )
    except OSError as error:
        reason = (
            f"{server.text} cannot be reached ({error.strerror}); look at this machine's routes"
        )
    raise ClusterError(reason) from None


def discover(server: Server, token: Token, ca_hash: str, now: float | None = None) -> Discovered:
    """The cluster behind a server. `now` is this machine's clock. Raises ClusterError."""
    own = reach(server)
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    kubeconfig = _signed(server, anybody, token, time.time() if now is None else now)
    authority = _authority(kubeconfig)
    check_hash(authority, ca_hash)
    known = ssl.create_default_context(cadata=authority.decode())
    again = _get(server, _INFO, known).json().get("data", {}).get("kubeconfig")
    if again != kubeconfig:
        raise ClusterError(f"{server.text} tells another authority than before; try again")
    check_version(_get(server, "/version", known).json())
    reply = _get(server, _CONFIG, known, token)
    if reply.status == 401:
        raise ClusterError(f"token {token.id} is not accepted, it may have expired; {_NEW_TOKEN}")
    if reply.status != 200:
        raise ClusterError(
            f"token {token.id} may not read the configuration of nodes (HTTP {reply.status}): it "
            f"must be for authentication, in the group {bootstraptokens.NODE_GROUP}; {_NEW_TOKEN}"
        )
    return Discovered(server, authority, own, reply.json().get("data", {}))


def ask(discovered: Discovered, path: str, token: Token) -> Reply:
    """What a cluster that is believed answers to a token. Raises ClusterError."""
    context = ssl.create_default_context(cadata=discovered.authority.decode())
    return _get(discovered.server, path, context, token)


def _signed(server: Server, context: ssl.SSLContext, token: Token, now: float) -> str:
    """The kubeconfig of cluster-info, which the token has signed. Raises ClusterError."""
    deadline = time.monotonic() + _SIGNED_WITHIN
    while True:
        reply = _get(server, _INFO, context)
        check_clock(reply.headers.get("Date", ""), now)
        if reply.status != 200:
            raise ClusterError(
                f"{server.text} has no cluster that can be joined (HTTP {reply.status} for "
                "cluster-info); start it with: tiphys up --address ADDRESS"
            )
        data = reply.json().get("data") or {}
        signature = data.get(SIGNATURE_PREFIX + token.id)
        if signature:
            return _checked(data.get("kubeconfig", ""), signature, token)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the server does not know token {token.id}: it has expired, or is of another "
                f"cluster; {_NEW_TOKEN}"
            )
        time.sleep(0.2)


def _checked(kubeconfig: str, signature: str, token: Token) -> str:
    if not bootstraptokens.is_signed(kubeconfig, signature, token):
        raise ClusterError(
            f"the secret of token {token.id} is wrong, or the server is not the one that made it; "
            f"compare them, or {_NEW_TOKEN}"
        )
    return kubeconfig


def _authority(kubeconfig: str) -> bytes:
    """The CA certificate in a kubeconfig. Raises ClusterError."""
    import yaml

    try:
        data = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["certificate-authority-data"]
        authority = base64.b64decode(data)
        certificates.pin(authority)
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        raise ClusterError(
            "cluster-info has no certificate authority; upgrade the cluster"
        ) from None
    return authority


def _get(server: Server, path: str, context: ssl.SSLContext, token: Token | None = None) -> Reply:
    """Raises ClusterError when there is no answer."""
    headers = {"Authorization": f"Bearer {token.text}"} if token else {}
    connection = http.client.HTTPSConnection(*server, context=context, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())  # type: ignore[arg-type]
    except ssl.SSLCertVerificationError as error:
        raise ClusterError(_certificate_fault(server, error)) from None
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"{server.text} does not speak as an API server does: {error}") from None
    finally:
        connection.close()


def _certificate_fault(server: Server, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in (_NOT_YET, _EXPIRED):
        return (
            f"the server's certificate is not valid by this machine's clock "
            f"({error.verify_message}); set the clock here, or there"
        )
    if error.verify_code in _MISMATCH:
        return (
            f"the server's certificate is not for {server.host}; give the address that it was "
            "started with (tiphys up --address), as tiphys token create prints it"
        )
    return (
        f"{server.text} has no certificate of the cluster's authority ({error.verify_message}): it "
        "is another server, or somebody stands between"
    )


# --- what is held against what ---


def check_hash(authority: bytes, wanted: str) -> None:
    """Raises ClusterError when the authority is not the one that the user means."""
    shown = certificates.pin(authority)
    if shown != wanted.strip().lower():
        raise ClusterError(
            f"the cluster's authority has the hash {shown}, not {wanted}: the command is for "
            "another cluster, or somebody stands between; compare with what tiphys token create "
            "prints on the server"
        )


def check_clock(date: str, now: float) -> None:
    """Raises ClusterError when this machine's clock and the server's `date` (an HTTP header) are
    too far apart."""
    try:
        server_time = email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return
    apart = now - server_time
    if abs(apart) > _CLOCK_SECONDS:
        direction = "ahead of" if apart > 0 else "behind"
        raise ClusterError(
            f"the clock of this machine is {abs(apart) / 60:.0f} min {direction} the server's; set "
            "it (timedatectl set-ntp true) and try again"
        )


def check_version(server: Mapping[str, Any], own: tuple[int, int] | None = None) -> None:
    """A node may be as old as three minor releases before its server, and no newer: upstream's
    version skew policy for kubelets. Raises ClusterError."""
    major, minor = own or own_version()
    try:
        server_version = int(server["major"]), int(str(server["minor"]).rstrip("+"))
    except (LookupError, ValueError):
        raise ClusterError("the server does not say which release it is of") from None
    if server_version[0] == major and 0 <= server_version[1] - minor <= _OLDER_BY:
        return
    comparison = "newer than" if (major, minor) > server_version else "too old for"
    raise ClusterError(
        f"this machine's release (Kubernetes {major}.{minor}) is {comparison} the server's "
        f"({server_version[0]}.{server_version[1]}): a node may be up to {_OLDER_BY} minor "
        "releases older than its server and never newer; install the server's release here"
    )


def own_version() -> tuple[int, int]:
    from tiphys.node.machine import VERSION

    major, minor = VERSION.removeprefix("v").split(".")[:2]
    return int(major), int(minor)


def check_name(server: Server, authority: bytes, token: Token, node: str) -> None:
    """Raises ClusterError when a node of that name is at work."""
    reply = ask(Discovered(server, authority, ""), f"/api/v1/nodes/{node}", token)
    if reply.status != 200:
        return
    ready = (row for row in reply.json()["status"].get("conditions", ()) if row["type"] == "Ready")
    if any(row["status"] == "True" for row in ready):
        raise ClusterError(
            f"there is a node named {node} in the cluster, and it is ready; choose another name "
            f"with --node-name, or, if it is gone for good: kubectl delete node {node}"
        )
