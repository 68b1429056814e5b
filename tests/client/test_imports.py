"""What `import tiphys.client` costs: programs that only talk to a cluster carry none of it around."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, sys
before = set(sys.modules)
import tiphys.client.client, tiphys.client.informer, tiphys.client.config
print(json.dumps(sorted(set(sys.modules) - before)))
"""
ROOMS = (
    "apiserver",
    "controllers",
    "scheduler",
    "node",
    "network",
    "addons",
    "operator",
    "cluster",
)
HEAVY = ("numpy", "grpc", "dns", "yaml", "cryptography", "click", "rich", "re2", "envoy", "xds")
MOST_OWN = 40
"""Modules of ours: what the client needs of the API's types and the machinery."""


def loaded(code: str = CODE) -> list[str]:
    """Modules that importing the client loads."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def excess(modules: list[str]) -> list[str]:
    """What of the modules the client has no use for."""
    own = [name for name in modules if name.split(".")[0] == "tiphys"]
    wrong = [name for name in own if name.split(".")[1:2] and name.split(".")[1] in ROOMS]
    wrong += [name for name in modules if name.split(".")[0] in HEAVY]
    return wrong or (own if len(own) > MOST_OWN else [])


def test_the_client_loads_no_more_than_it_needs() -> None:
    assert excess(loaded()) == []


@pytest.mark.parametrize(
    "added", ["import numpy", "import tiphys.scheduler", "import tiphys.addons.echo"]
)
def test_an_import_too_many_is_seen(tmp_path: Path, added: str) -> None:
    (tmp_path / "one_too_many.py").write_text(added)
    code = CODE.replace("import tiphys.client.client", "import one_too_many, tiphys.client.client")
    assert excess(loaded(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}")) != []
