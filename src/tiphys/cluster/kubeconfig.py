"""kubeconfig files: one for each component, and the user's own, in which only our entries are touched."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from tiphys.cluster.certificates import write_private
from tiphys.cluster.state import Cluster, ClusterError


def document(name: str, server: str, ca: bytes, certificate: bytes, key: bytes) -> dict[str, Any]:
    """A whole kubeconfig with everything in it."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "apiVersion": "v1", "kind": "Config", "current-context": name, "preferences": {},
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": text(ca)}}],
        "users": [{"name": name, "user": {"client-certificate-data": text(certificate), "client-key-data": text(key)}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }  # fmt: skip


def component(path: Path, server: str, ca: Path, certificate: Path, key: Path) -> None:
    """A component's kubeconfig, which names files. Written by hand: a YAML library is slow to load."""
    lines = [
        "apiVersion: v1", "kind: Config", "current-context: default",
        f'clusters: [{{name: default, cluster: {{server: "{server}", certificate-authority: "{ca}"}}}}]',
        f'users: [{{name: default, user: {{client-certificate: "{certificate}", client-key: "{key}"}}}}]',
        "contexts: [{name: default, context: {cluster: default, user: default}}]",
    ]  # fmt: skip
    write_private(path, ("\n".join(lines) + "\n").encode())


def user_file() -> Path:
    """The file that kubectl would write to."""
    named = os.environ.get("KUBECONFIG", "").split(":")[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def admin(cluster: Cluster) -> dict[str, Any]:
    pki = cluster.pki
    files = [(pki / name).read_bytes() for name in ("ca.crt", "admin.crt", "admin.key")]
    return document(cluster.name, cluster.server, *files)


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise ClusterError(f"{path} cannot be read ({error}); mend it or set KUBECONFIG to another file") from None
    return dict(found)


def _write(path: Path, content: dict[str, Any]) -> None:
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, yaml.safe_dump(content, sort_keys=False).encode())


def merge(cluster: Cluster) -> Path:
    """Enters the cluster into the user's file as the current context."""
    path, ours = user_file(), admin(cluster)
    content = _load(path)
    for key in ("clusters", "users", "contexts"):
        content[key] = [row for row in content.get(key) or [] if row.get("name") != cluster.name] + ours[key]
    content |= {"apiVersion": "v1", "kind": "Config", "current-context": cluster.name}
    _write(path, content)
    return path


def remove(cluster: Cluster) -> None:
    """Takes the cluster's entries out again."""
    path = user_file()
    content = _load(path)
    if not any(
        row.get("name") == cluster.name for key in ("clusters", "users", "contexts") for row in content.get(key) or []
    ):
        return
    for key in ("clusters", "users", "contexts"):
        content[key] = [row for row in content.get(key) or [] if row.get("name") != cluster.name]
    if content.get("current-context") == cluster.name:
        content["current-context"] = ""
    _write(path, content)
