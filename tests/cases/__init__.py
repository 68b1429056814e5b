"""Inputs that people bring, each for one kind of fault: definitions as public projects write them,
in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.apiserver.builders import CRDS, call, established
from tiphys.testing import LocalCluster


def inputs(name: str) -> list[dict[str, Any]]:
    """The objects of a file beside this one."""
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


async def defined(server: LocalCluster, name: str) -> str:
    """Establishes the definition of a file; the path of its objects in the default namespace, at
    the first version."""
    [crd] = inputs(name)
    await established(server, crd)
    spec = crd["spec"]
    return f"/apis/{spec['group']}/{spec['versions'][0]['name']}/namespaces/default/{spec['names']['plural']}"


__all__ = ["CRDS", "call", "defined", "inputs"]
