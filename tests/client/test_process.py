"""What a program pays for the client: no module of the server side, and nothing left behind."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

ROOMS = (
    "apiserver",
    "store",
    "controllers",
    "scheduler",
    "node",
    "network",
    "cluster",
    "cli",
    "testing",
)


def test_the_client_loads_nothing_of_the_server() -> None:
    script = "import sys, tiphys.client; print(' '.join(m for m in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [m for m in loaded if m.startswith("tiphys.") and m.split(".")[1] in ROOMS]
    assert not {"numpy", "grpc", "cryptography", "yaml", "rich"} & set(loaded)


def test_credentials_of_a_kubeconfig_do_not_outlive_the_process(tmp_path: Path) -> None:
    data = base64.b64encode(b"secret").decode()
    content = {
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": data},
            }
        ],
        "users": [
            {"name": "u", "user": {"client-certificate-data": data, "client-key-data": data}}
        ],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(content))
    script = (
        "import pathlib; from tiphys.client.config import load;"
        f"load(pathlib.Path({str(tmp_path / 'kubeconfig')!r})); print(len(list(pathlib.Path({str(tmp_path)!r}).glob('tiphys-*'))))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "3"
    assert not list(tmp_path.glob("tiphys-*"))
