"""A cluster of real containers on two nodes, brought up with the `tiphys` command as a user would,
once for all tests here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.machine import EXAMPLE, Machine
from tiphys.cluster import containerd
from tiphys.testing.cluster import free_port


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    sys.path.insert(0, str(EXAMPLE))
    from image import build  # type: ignore[import-not-found]

    root = tmp_path_factory.mktemp("e2e")
    made = Machine(root, f"e2e-{os.getpid()}")  # other runs may go on beside this one
    cluster = ["--name", made.name, "--data-dir", str(root / "data"), "--port", str(free_port())]
    made.tiphys("up", *cluster, "--runtime", "containerd", "--nodes", "2", "--wait")
    try:
        made.tiphys("image", "load", "--name", made.name, str(build(root / "hello.tar")))
        yield made
    finally:
        made.tiphys("down", "--name", made.name, "--purge", check=False)


@contextmanager
def configured(root: Path, name: str, configuration: str) -> Iterator[Machine]:
    """A cluster of one node whose KubeletConfiguration says what is in `configuration`."""
    if os.geteuid() != 0 or containerd.missing() or shutil.which("kubectl") is None:
        pytest.skip("needs root, containerd and kubectl")
    sys.path.insert(0, str(EXAMPLE))
    from image import build

    one = Machine(root, f"{name}-{os.getpid()}")
    config = root / "kubelet.yaml"
    head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    config.write_text(head + configuration)
    cluster = ["--name", one.name, "--data-dir", str(root / "data"), "--port", str(free_port())]
    one.tiphys("up", *cluster, "--runtime", "containerd", "--kubelet-config", str(config), "--wait")
    try:
        one.tiphys("image", "load", "--name", one.name, str(build(root / "hello.tar")))
        yield one
    finally:
        one.tiphys("down", "--name", one.name, "--purge", check=False)
