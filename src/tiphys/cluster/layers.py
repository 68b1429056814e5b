"""Image layers: tars that are the same bytes whenever they hold the same files, and the OCI layout
around them."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import posixpath
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from tiphys.node.images.names import full_name

MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders that are links into usr, as on every Debian since 12."""
_CHUNK = 1 << 20


class LayerFiles:
    """The files of a layer, gathered from many places and written in the order of their paths.

    Contents lie in a temporary file. A path that is added twice keeps what came last. Times are
    zero and owners are numbers, so that nothing of the machine that builds gets into the image.
    `merged` leads paths such as bin/sh through usr, as Debian does.
    """

    def __init__(self, merged: bool = False) -> None:
        self._merged = merged
        self._spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        self._entries: dict[str, tuple[tarfile.TarInfo, int]] = {}

    def __enter__(self) -> LayerFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spool.close()

    def __contains__(self, path: str) -> bool:
        return self._path(path) in self._entries

    def _path(self, path: str) -> str:
        """Without its first slash. The merged folders themselves stay where they are."""
        normal = posixpath.normpath(path).lstrip("/")
        first, _, rest = normal.partition("/")
        if self._merged and rest and first in MERGED:
            return f"usr/{normal}"
        return "" if normal == "." else normal

    def paths(self) -> list[str]:
        return sorted(self._entries)

    def content(self, path: str) -> bytes | None:
        """What a file holds; None for links, folders and what is not there."""
        info, start = self._entries.get(self._path(path), (None, 0))
        if info is None or not info.isreg():
            return None
        self._spool.seek(start)
        return self._spool.read(info.size)

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        info = tarfile.TarInfo(self._path(path))
        info.type = tarfile.DIRTYPE
        info.mode = mode
        info.uid = info.gid = owner
        self._entries[info.name] = (info, 0)

    def link(self, path: str, target: str) -> None:
        info = tarfile.TarInfo(self._path(path))
        info.type = tarfile.SYMTYPE
        info.linkname = target
        self._entries[info.name] = (info, 0)

    def file(self, path: str, content: bytes, mode: int = 0o644, owner: int = 0) -> None:
        info = tarfile.TarInfo(self._path(path))
        info.size = len(content)
        info.mode = mode
        info.uid = info.gid = owner
        self._keep(info, io.BytesIO(content))

    def tree(self, folder: Path, below: str) -> None:
        """Every file of a folder on this machine, below a path of the image."""
        for source in sorted(folder.rglob("*")):
            path = f"{below}/{source.relative_to(folder)}"
            if source.is_symlink():
                self.link(path, str(source.readlink()))
            elif source.is_dir():
                self.folder(path)
            else:
                mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
                self.file(path, source.read_bytes(), mode)

    def archive(self, archive: tarfile.TarFile, skip: Iterable[str] = ()) -> None:
        """The members of a tar, but for those below a path of `skip`. Device files are left out."""
        skipped = tuple(f"{path}/" for path in skip)
        for member in archive:
            name = self._path(member.name)
            if not name or (self._merged and name in MERGED) or f"{name}/".startswith(skipped):
                continue
            info = tarfile.TarInfo(name)
            info.mode = member.mode
            info.uid = member.uid
            info.gid = member.gid
            info.type = member.type
            if member.isreg():
                info.size = member.size
                content = archive.extractfile(member)
                assert content is not None
                self._keep(info, content)
            elif member.issym():
                info.linkname = member.linkname
                self._entries[name] = (info, 0)
            elif member.islnk():
                info.linkname = self._path(member.linkname)
                self._entries[name] = (info, 0)
            elif member.isdir():
                self._entries.setdefault(name, (info, 0))

    def _keep(self, info: tarfile.TarInfo, content: IO[bytes]) -> None:
        start = self._spool.seek(0, io.SEEK_END)
        while chunk := content.read(_CHUNK):
            self._spool.write(chunk)
        self._entries[info.name] = (info, start)

    def write(self, file: Path) -> None:
        """The layer as a tar: parents before their children, targets of hard links before the
        links."""
        for name in list(self._entries):
            for parent in _parents(name):
                if parent not in self._entries:
                    self.folder(parent)
        with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
            names = sorted(self._entries, key=lambda name: (self._entries[name][0].islnk(), name))
            for name in names:
                info, start = self._entries[name]
                self._spool.seek(start)
                tar.addfile(info, self._spool if info.isreg() else None)


def _parents(name: str) -> Iterable[str]:
    parts = name.split("/")[:-1]
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end])


# --- the image ---


@dataclass(frozen=True)
class Config:
    """What a runtime starts when a pod says nothing else. `env` are ``NAME=value``."""

    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    user: str = ""
    working_dir: str = ""


def write_image(file: Path, name: str, layer: Path, config: Config) -> str:
    """Writes an OCI layout in a tar, as `tiphys image load`, ctr and docker read it.

    It holds the whole name: pods that name ``redis:7`` look for ``docker.io/library/redis:7``.
    Returns the image's digest. Raises ImageNameError.
    """
    name = full_name(name)
    layer_digest = _digest_of(layer)
    settings = {
        "Entrypoint": config.entrypoint,
        "Cmd": config.command,
        "Env": config.env,
        "User": config.user,
        "WorkingDir": config.working_dir,
    }
    config_blob = _json(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {key: value for key, value in settings.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [{"created_by": "tiphys"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("config.v1+json", _sha256(config_blob), len(config_blob)),
            "layers": [_descriptor("layer.v1.tar", layer_digest, layer.stat().st_size)],
        }
    )
    reference = _descriptor("manifest.v1+json", _sha256(manifest), len(manifest))
    reference["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    }
    with tarfile.open(file, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [reference]}))
        _add(tar, f"blobs/sha256/{_sha256(manifest)}", manifest)
        _add(tar, f"blobs/sha256/{_sha256(config_blob)}", config_blob)
        info = tarfile.TarInfo(f"blobs/sha256/{layer_digest}")
        info.size = layer.stat().st_size
        with layer.open("rb") as content:
            tar.addfile(info, content)
    return f"sha256:{_sha256(manifest)}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": f"sha256:{digest}",
        "size": size,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
