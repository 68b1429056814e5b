"""Where the server is and who we are there: kubeconfig files and the files of a pod's service
account."""

from __future__ import annotations

import atexit
import base64
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiphys.client import certfiles
from tiphys.client.servers import EXTENSION

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """The configuration cannot be used; the text says what to do."""


@dataclass
class Config:
    """`ca`, `certificate` and `key` are PEM files; `token_file` is read again as it rotates;
    `servers` is a file that names other API servers of the cluster (`client.servers`)."""

    server: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str = ""
    token_file: Path | None = None
    namespace: str = "default"
    insecure: bool = False
    servers: Path | None = None

    def ssl_context(self, renewed: Callable[[], None] = lambda: None) -> ssl.SSLContext:
        """`renewed` is called when the client's certificate was renewed."""
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            certfiles.use(context, self.certificate, self.key, renewed)
        return context


def load(path: str | Path | None = None, context: str | None = None) -> Config:
    """Configuration of a kubeconfig file (default: $KUBECONFIG, then ~/.kube/config), or of the pod
    we run in."""
    if path is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        return in_cluster()
    import yaml

    file = Path(
        path or os.environ.get("KUBECONFIG", "").split(":")[0] or Path.home() / ".kube" / "config"
    )
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    chosen = _named(content, "contexts", context or content.get("current-context", ""), "context")
    cluster = _named(content, "clusters", chosen["cluster"], "cluster")
    user = _named(content, "users", chosen["user"], "user")
    return Config(
        server=cluster["server"].rstrip("/"),
        ca=_file(cluster, "certificate-authority", file),
        certificate=_file(user, "client-certificate", file),
        key=_file(user, "client-key", file),
        token=user.get("token", ""),
        token_file=Path(user["tokenFile"]) if "tokenFile" in user else None,
        namespace=chosen.get("namespace", "default"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        servers=_servers(cluster),
    )


def _servers(cluster: dict[str, Any]) -> Path | None:
    """The file of other API servers that an extension of ours names."""
    for row in cluster.get("extensions") or []:
        if row.get("name") == EXTENSION:
            return Path(row["extension"]["file"])
    return None


def in_cluster() -> Config:
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = (_ACCOUNT / "namespace").read_text().strip()
    return Config(
        f"https://{host}:{port}",
        _ACCOUNT / "ca.crt",
        token_file=_ACCOUNT / "token",
        namespace=namespace,
    )


def _named(content: dict[str, Any], kind: str, name: str, inner: str) -> dict[str, Any]:
    for row in content.get(kind) or []:
        if row["name"] == name:
            return row.get(inner) or {}
    raise ConfigError(f"the kubeconfig has no {inner} named {name!r}")


def _file(section: dict[str, Any], name: str, beside: Path) -> Path | None:
    if section.get(name):
        return beside.parent / str(section[name])
    data = section.get(f"{name}-data")
    if not data:
        return None
    handle, path = tempfile.mkstemp(prefix="tiphys-")  # 0600; OpenSSL loads keys only from files
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64decode(data))
    atexit.register(Path(path).unlink, missing_ok=True)  # it may be a private key
    return Path(path)
