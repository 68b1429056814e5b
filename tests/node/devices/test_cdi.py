"""Devices as their drivers describe them in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tiphys.node.devices.cdi import CDIError, read
from tiphys.node.runtime import DeviceNode, Mount


def write(
    folder: Path, name: str, *devices: Any, kind: str = "example.com/gpu", **edits: Any
) -> None:
    folder.mkdir(exist_ok=True)
    spec = {"cdiVersion": "0.6.0", "kind": kind, "devices": list(devices), "containerEdits": edits}
    (folder / name).write_text(json.dumps(spec))


def device(name: str, **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits}


def test_a_container_gets_what_the_kind_and_its_device_need(tmp_path: Path) -> None:
    node = {"path": "/dev/gpu", "hostPath": "/dev/null", "permissions": "rw"}
    mount = {"hostPath": "/lib", "containerPath": "/driver", "options": ["ro", "rbind", "rslave"]}
    one = device("one", env=["A=1=2"], deviceNodes=[node, {"path": "/dev/zero"}])
    write(tmp_path, "gpu.json", one, device("two", env=["B=2"]), env=["ALL=1"], mounts=[mount])
    edits = read(["example.com/gpu=one"], (tmp_path,))
    assert edits.env == {"ALL": "1", "A": "1=2"}
    assert edits.mounts == [Mount("/lib", "/driver", True, 1)]
    assert edits.devices == [
        DeviceNode("/dev/null", "/dev/gpu", "rw"),
        DeviceNode("/dev/zero", "/dev/zero", "rwm"),
    ]
    both = read(["example.com/gpu=one", "example.com/gpu=two"], (tmp_path,))
    assert both.env == {"ALL": "1", "A": "1=2", "B": "2"}


def test_the_later_folder_goes_before_and_broken_files_count_for_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "run"
    write(first, "gpu.json", device("one", env=["FROM=etc"]))
    write(second, "gpu.json", device("one", env=["FROM=run"]))
    (second / "broken.json").write_text("{")
    (second / "wrong.yaml").write_text("- 1")
    assert read(["example.com/gpu=one"], (first, second)).env == {"FROM": "run"}
    nowhere = tmp_path / "nowhere"
    assert read(["example.com/gpu=one"], (nowhere, second, nowhere)).env == {"FROM": "run"}
    (second / "gpu.json").rename(second / "gpu.txt")
    assert read(["example.com/gpu=one"], (first, second)).env == {"FROM": "etc"}


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ({"hooks": [{"hookName": "createContainer", "path": "/x"}]}, "asks for hooks"),
        ({"additionalGids": [5]}, "asks for additionalGids"),
        ({"env": ["NAME"]}, 'has the variable "NAME" without a value'),
    ],
)
def test_what_cannot_be_carried_out_is_refused(
    tmp_path: Path, edits: dict[str, Any], problem: str
) -> None:
    write(tmp_path, "gpu.json", device("one", **edits))
    with pytest.raises(CDIError, match=problem):
        read(["example.com/gpu=one"], (tmp_path,))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("example.com/gpu=nine", "unresolvable CDI devices example.com/gpu=nine"),
        ("gpu", '"gpu" is not the name of a CDI device'),
    ],
)
def test_a_device_that_is_described_nowhere_is_an_error(
    tmp_path: Path, name: str, problem: str
) -> None:
    with pytest.raises(CDIError, match=problem):
        read([name], (tmp_path,))
