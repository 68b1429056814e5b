"""Images from packages."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from tiphys.cluster.recipes import Recipe, build, read
from tiphys.cluster.state import ClusterError

YAML = """
name: shell:1
packages: [busybox-static]
entrypoint: [/bin/busybox]
users: {worker: 1000}
folders: {/work: worker}
links: {/bin/sh: busybox}
files: {/bin/hello: "#!/bin/sh\\necho hello"}
"""


def recipe(tmp_path: Path, text: str) -> Recipe:
    (tmp_path / "image.yaml").write_text(text)
    return read(tmp_path / "image.yaml")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_the_same_packages_give_the_same_digest(tmp_path: Path) -> None:
    made = recipe(tmp_path, YAML)
    digests = {build(made, tmp_path / f"{n}.tar", tmp_path / "cache") for n in range(2)}
    assert len(digests) == 1
    with tarfile.open(tmp_path / "0.tar") as image:
        largest = max(image.getmembers(), key=lambda member: member.size)
        with tarfile.open(fileobj=image.extractfile(largest)) as layer:
            members = {member.name: member for member in layer.getmembers()}
    assert members["bin"].linkname == "usr/bin"
    assert members["usr/bin/busybox"].mode & 0o111
    assert members["usr/bin/hello"].mode & 0o111
    assert members["usr/bin/sh"].linkname == "busybox"
    assert members["work"].uid == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("packages: [a]", "missing required field `name`"),
        ("name: x\nentry: []", "unknown field `entry`"),
        ("name: [", "expected"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ClusterError, match=r"image\.yaml") as refused:
        recipe(tmp_path, text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Recipe("X!", packages=["a"]), "X! cannot be the name of an image"),
        (Recipe("x"), "there is nothing in it"),
        (Recipe("x", packages=["a"], folders={"/d": "redis"}), "redis, who is not among users"),
        (Recipe("x", packages=["a"], python=["b"]), "need python3"),
        (Recipe("x", packages=["no-such-package-at-all"]), "apt-get update"),
    ],
)
def test_what_cannot_be_built_says_why(tmp_path: Path, made: Recipe, message: str) -> None:
    with pytest.raises(ClusterError) as refused:
        build(made, tmp_path / "x.tar", tmp_path / "cache")
    assert message in str(refused.value)
