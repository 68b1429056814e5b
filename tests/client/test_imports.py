"""What a program pays for the client: no module of the server side."""

from __future__ import annotations

import subprocess
import sys

ROOMS = ("apiserver", "store", "controllers", "scheduler", "node", "network", "cluster", "cli", "testing")


def test_the_client_loads_nothing_of_the_server() -> None:
    script = "import sys, tiphys.client; print(' '.join(m for m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not [m for m in loaded if m.startswith("tiphys.") and m.split(".")[1] in ROOMS]
    assert not {"numpy", "grpc", "cryptography", "yaml", "rich"} & set(loaded)
