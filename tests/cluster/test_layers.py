"""Layers and images: the same files are the same bytes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tiphys.cluster.layers import Config, LayerFiles, write_image


def archive(*members: tuple[str, bytes | str]) -> tarfile.TarFile:
    """A tar of files (bytes), symbolic links (``->target``) and hard links (``=target``)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mtime = 12345
            if isinstance(content, bytes):
                info.size = len(content)
            else:
                info.type = tarfile.SYMTYPE if content.startswith("->") else tarfile.LNKTYPE
                info.linkname = content.removeprefix("->").removeprefix("=")
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    out.seek(0)
    return tarfile.open(fileobj=out)


def written(files: LayerFiles, folder: Path) -> list[tarfile.TarInfo]:
    files.write(folder / "layer.tar")
    with tarfile.open(folder / "layer.tar") as tar:
        return tar.getmembers()


def test_order_and_time_of_adding_do_not_matter(tmp_path: Path) -> None:
    digests = []
    for names in (("a/b", "c"), ("c", "a/b")):
        with LayerFiles() as files:
            for name in names:
                files.file(name, name.encode())
            files.write(tmp_path / "layer.tar")
        digests.append(write_image(tmp_path / "image.tar", "i", tmp_path / "layer.tar", Config()))
    assert digests[0] == digests[1]


def test_parents_come_before_children_and_targets_before_links(tmp_path: Path) -> None:
    with LayerFiles() as files:
        files.archive(archive(("z/file", b"x"), ("a/hard", "=z/file"), ("b", "->z/file")))
        members = written(files, tmp_path)
    assert [member.name for member in members] == ["a", "b", "z", "z/file", "a/hard"]
    assert all(member.mtime == 0 for member in members)


def test_merged_folders_lead_through_usr(tmp_path: Path) -> None:
    with LayerFiles(merged=True) as files:
        files.link("bin", "usr/bin")
        files.archive(archive(("./bin/sh", b"sh"), ("./lib", "->elsewhere")))
        names = {member.name for member in written(files, tmp_path)}
    assert names == {"bin", "usr", "usr/bin", "usr/bin/sh"}


def test_what_is_skipped_is_not_there_and_the_last_wins(tmp_path: Path) -> None:
    with LayerFiles() as files:
        files.archive(archive(("usr/share/man/x", b"x"), ("etc/a", b"one")), ["usr/share/man"])
        files.archive(archive(("etc/a", b"three")))
        members = {member.name: member.size for member in written(files, tmp_path)}
    assert members == {"etc": 0, "etc/a": 5}


def test_an_image_says_what_it_starts(tmp_path: Path) -> None:
    with LayerFiles() as files:
        files.file("hello", b"hi")
        files.write(tmp_path / "layer.tar")
    config = Config(["/hello"], ["--loud"], ["A=b"], "nobody", "/data")
    digest = write_image(tmp_path / "image.tar", "hello:1", tmp_path / "layer.tar", config)
    with tarfile.open(tmp_path / "image.tar") as tar:

        def blob(name: str) -> dict[str, object]:
            found = tar.extractfile(name)
            assert found is not None
            return dict(json.load(found))

        index = blob("index.json")
        assert index["manifests"][0]["digest"] == digest  # type: ignore[index]
        names = index["manifests"][0]["annotations"]  # type: ignore[index]
        assert names["io.containerd.image.name"] == "docker.io/library/hello:1"
        manifest = blob(f"blobs/sha256/{digest.removeprefix('sha256:')}")
        reference = manifest["config"]["digest"].removeprefix("sha256:")  # type: ignore[index]
        config_of = blob(f"blobs/sha256/{reference}")["config"]
    assert config_of == {
        "Entrypoint": ["/hello"],
        "Cmd": ["--loud"],
        "Env": ["A=b"],
        "User": "nobody",
        "WorkingDir": "/data",
    }


@pytest.mark.parametrize("path", ["/", ".", "./"])
def test_the_root_is_no_file(path: str) -> None:
    with LayerFiles() as files:
        files.archive(archive((path, b"")))
        assert files.paths() == []
