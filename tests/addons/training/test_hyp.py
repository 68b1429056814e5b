"""PyPI's `hyp` (sagemaker-hyperpod), unchanged: its schema has our fields, and its commands work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.addons.training.builders import job_body
from tests.addons.training.world import fake_world
from tiphys.addons.training import definitions
from tiphys.api.base import to_builtins


def python() -> str:
    """The interpreter that has sagemaker-hyperpod."""
    return os.environ.get("TIPHYS_HYP_PYTHON", sys.executable)


SCHEMAS = """
import json
from sagemaker.hyperpod.training.config import hyperpod_pytorch_job_unified_config as c
print(json.dumps([c._HyperPodPytorchJob.model_json_schema(by_alias=False),
                  c.HyperPodPytorchJobStatus.model_json_schema(by_alias=False)]))
"""


def published() -> list[Any]:
    found = subprocess.run([python(), "-c", SCHEMAS], capture_output=True, text=True)
    if found.returncode:
        pytest.skip("needs PyPI's sagemaker-hyperpod (TIPHYS_HYP_PYTHON names a python)")
    said: list[Any] = json.loads(found.stdout)
    return said


def names_of(schema: Any, whole: Any, path: str = "") -> set[str]:
    """The paths of all fields, with lists and references looked through."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    for arm in schema.get("anyOf", ()):
        if "$ref" in arm or arm.get("type") in ("array", "object"):
            return names_of(arm, whole, path)
    if "items" in schema:
        return names_of(schema["items"], whole, path)
    found = set()
    for name, property_ in schema.get("properties", {}).items():
        found |= {f"{path}.{name}"} | names_of(property_, whole, f"{path}.{name}")
    return found


def test_every_published_field_is_one_of_ours() -> None:
    ours = to_builtins(definitions()[0].spec.versions[0].schema)["openAPIV3Schema"]
    missing = []
    for part, schema in zip(("spec", "status"), published(), strict=True):
        known = names_of(ours["properties"][part], ours)
        missing += [f"{part}{name}" for name in names_of(schema, schema) - known]
    # Within pods the published models share one class for different structs of the same name: there
    # only pods and containers themselves are compared.
    inside = re.compile(r"\.metadata\.|template\.spec\.(?!containers\.)\w+\.|containers\.\w+\.")
    assert [name for name in missing if not inside.search(name)] == []


@pytest.mark.slow
async def test_its_commands_work(tmp_path: Path) -> None:
    published()
    hyp = str(Path(python()).with_name("hyp"))
    async with fake_world() as (world, _):
        environment = {
            **os.environ,
            "KUBECONFIG": str(world.cluster.kubeconfig()),
            "HOME": str(tmp_path),
            "COLUMNS": "200",
        }
        environment.pop("PYTHONPATH", None)

        async def run(*arguments: str) -> str:
            import asyncio

            process = await asyncio.create_subprocess_exec(
                hyp,
                *arguments,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await process.communicate()
            assert process.returncode == 0, said.decode()
            return said.decode()

        await run(
            "create",
            "hyp-pytorch-job",
            "--job-name",
            "train",
            "--image",
            "trainer:1",
            "--node-count",
            "2",
        )
        await world.reaches("Running", seconds=60)
        listed = await run("list", "hyp-pytorch-job")
        row = next(line for line in listed.splitlines() if line.startswith("train"))
        assert row.split()[:3] == ["train", "default", "Running"]
        described = await run("describe", "hyp-pytorch-job", "--job-name", "train")
        assert "Replicas: 2" in described and "Type:               Running" in described
        pods = await run("list-pods", "hyp-pytorch-job", "--job-name", "train")
        assert "train-pod-0" in pods and "train-pod-1" in pods
        await run("delete", "hyp-pytorch-job", "--job-name", "train")


def test_a_job_of_ours_is_one_of_theirs() -> None:
    """What is in a cluster is read by `hyp` with its own models, which allow no other field."""
    published()
    code = (
        "import json, sys; from sagemaker.hyperpod.training.hyperpod_pytorch_job import "
        "_load_hp_job; print(_load_hp_job(json.load(sys.stdin)).metadata.name)"
    )
    body = job_body()
    body["status"] = {
        "conditions": [{"type": "Running", "status": "True", "reason": "JobRunning"}],
        "restartCount": 1,
        "restartStatus": {"currentEvalPeriod": 0, "fullJobRestartCount": 0, "restartCount": 1},
        "latestFaultyPodInstanceList": {"restartType": "PLR", "faultyRankList": ["2"]},
        "jobPods": [{"kind": "Pod", "name": "train-pod-0", "uid": "u"}],
    }
    done = subprocess.run(
        [python(), "-c", code], input=json.dumps(body), capture_output=True, text=True
    )
    assert done.stdout.strip() == "train", done.stderr[-2000:]
