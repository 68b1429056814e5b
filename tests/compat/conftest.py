"""One body that every client makes, and the way in for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiphys.testing import LocalCluster


@pytest.fixture
def way_in(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The path of a kubeconfig, which KUBECONFIG names, too. No client finds another one, or a
    cache of its own."""
    path = str(cluster.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return path


@pytest.fixture
def deployment() -> dict[str, Any]:
    container = {"name": "berth", "image": "nginx"}
    template = {"metadata": {"labels": {"app": "berth"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "berth", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "berth"}},
            "template": template,
        },
    }
