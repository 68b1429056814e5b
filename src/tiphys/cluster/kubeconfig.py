"""kubeconfig files: one for each component, and the user's own, in which only our entries are
touched."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from tiphys.client.servers import EXTENSION
from tiphys.cluster.certificates import write_private
from tiphys.cluster.state import Cluster, ClusterError

_LISTS = ("clusters", "users", "contexts")


def document(name: str, server: str, ca: bytes, certificate: bytes, key: bytes) -> dict[str, Any]:
    """A whole kubeconfig with everything in it."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "preferences": {},
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": text(ca)}}
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": text(certificate),
                    "client-key-data": text(key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def component(
    path: Path, server: str, ca: Path, certificate: Path, key: Path, servers: Path | None = None
) -> None:
    """A component's kubeconfig, which names files; `servers` is the one with other API servers that
    may be asked. Written by hand: a YAML library is slow to load."""
    others = ""
    if servers is not None:
        others = f', extensions: [{{name: {EXTENSION}, extension: {{file: "{servers}"}}}}]'
    lines = [
        "apiVersion: v1",
        "kind: Config",
        "current-context: default",
        f'clusters: [{{name: default, cluster: {{server: "{server}", certificate-authority: '
        f'"{ca}"{others}}}}}]',
        f'users: [{{name: default, user: {{client-certificate: "{certificate}", client-key: '
        f'"{key}"}}}}]',
        "contexts: [{name: default, context: {cluster: default, user: default}}]",
    ]
    write_private(path, ("\n".join(lines) + "\n").encode())


def user_file() -> Path:
    """The file that kubectl would write to."""
    named = os.environ.get("KUBECONFIG", "").split(":")[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def admin(cluster: Cluster) -> dict[str, Any]:
    pki = cluster.pki
    files = [(pki / name).read_bytes() for name in ("ca.crt", "admin.crt", "admin.key")]
    return document(cluster.name, cluster.public_server, *files)


def check() -> None:
    """Raises ClusterError when we could not enter a cluster into the user's file."""
    path = user_file()
    _load(path)
    folder = next(parent for parent in path.parents if parent.exists())
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ClusterError(f"{path} cannot be written; set KUBECONFIG to another file")


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ClusterError(
            f"{path} cannot be read ({reason}); mend it or set KUBECONFIG to another file"
        ) from None
    if not isinstance(content, dict) or not all(
        _is_list_of_rows(content.get(key)) for key in _LISTS
    ):
        raise ClusterError(f"{path} is not a kubeconfig; mend it or set KUBECONFIG to another file")
    return content


def _is_list_of_rows(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(row, dict) for row in value)
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, yaml.safe_dump(content, sort_keys=False).encode())


def merge(cluster: Cluster) -> Path:
    """Enters the cluster into the user's file as the current context."""
    path = user_file()
    ours = admin(cluster)
    content = _load(path)
    for key in _LISTS:
        content[key] = [
            row for row in content.get(key) or [] if row.get("name") != cluster.name
        ] + ours[key]
    content |= {"apiVersion": "v1", "kind": "Config", "current-context": cluster.name}
    _write(path, content)
    return path


def refresh(cluster: Cluster) -> bool:
    """Puts the administrator's new certificate into the user's file, if the cluster is in it;
    returns whether it is. Nothing else is touched."""
    path = user_file()
    ours = admin(cluster)
    content = _load(path)
    rows = content.get("users") or []
    for number, row in enumerate(rows):
        if row.get("name") == cluster.name:
            rows[number] = ours["users"][0]
            _write(path, content)
            return True
    return False


def remove(cluster: Cluster) -> str | None:
    """Takes the cluster's entries out again. If it was the current context, another one becomes it,
    and its name is returned."""
    path = user_file()
    content = _load(path)
    if not any(row.get("name") == cluster.name for key in _LISTS for row in content.get(key) or []):
        return None
    for key in _LISTS:
        content[key] = [row for row in content.get(key) or [] if row.get("name") != cluster.name]
    chosen = None
    if content.get("current-context") == cluster.name:
        chosen = next((row["name"] for row in content["contexts"] if row.get("name")), None)
        content["current-context"] = chosen or ""
    _write(path, content)
    return chosen
