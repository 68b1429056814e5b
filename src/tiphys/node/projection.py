"""The files of a volume that is made from objects: written all at once, whatever stands in the volume.

They lie in a dated folder behind the link ``..data``, which changes in one step; the names that programs open lead through
it. Containers see such a volume read-only, but a privileged one can make it writable again: so nothing found in it is
trusted, and everything is done through open handles.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from tiphys.machinery import handles


class File(NamedTuple):
    """`user` is the owner's number, -1 for the node's own."""

    content: bytes
    mode: int = 0o644
    user: int = -1


Files = dict[str, File]  # by relative path

_GROUP_READS = (
    0o440  # what a volume's group adds to the mode of files that are read-only, as upstream does
)


def write_files(volume: Path, files: Files, group: int | None = None) -> None:
    """Makes the volume hold just these files. Raises OSError."""
    for name in files:
        if not handles.parts_of(name) or name.startswith(".."):
            raise OSError(f"{name!r} is not a path of a file")
    if group is not None:
        files = {name: file._replace(mode=file.mode | _GROUP_READS) for name, file in files.items()}
    volume.mkdir(parents=True, exist_ok=True)
    with handles.folder(volume) as at:
        if _holds(at, files):
            return
        dated = f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.time_ns() % 10**9:09}"
        os.close(handles.make_folder(at, dated, 0o755))
        for name, file in files.items():
            _write(at, f"{dated}/{name}", file, -1 if group is None else group)
        _link(at, "..data", dated)
        _show(at, {handles.parts_of(name)[0] for name in files})
        _clean(at, dated)


def _write(at: int, path: str, file: File, group: int) -> None:
    *way, name = handles.parts_of(path)
    with handles.folder("/".join(way), at, make=0o755) as here:
        handles.write_file(here, name, file.content, file.mode, file.user, group)


def _link(at: int, name: str, target: str) -> None:
    """In one step, if a link or nothing stands there."""
    new = f"{name}_tmp"
    handles.remove_tree(at, new)
    os.symlink(target, new, dir_fd=at)
    try:
        os.rename(new, name, src_dir_fd=at, dst_dir_fd=at)
    except IsADirectoryError:
        handles.remove_tree(at, name)
        os.rename(new, name, src_dir_fd=at, dst_dir_fd=at)


def _show(at: int, names: set[str]) -> None:
    """Links for the names that are, none for those that were."""
    standing = {name: _target(at, name) for name in os.listdir(at) if not name.startswith("..")}
    for name, target in standing.items():
        if name not in names and target is not None:
            os.unlink(name, dir_fd=at)
    for name in names:
        if standing.get(name) != f"..data/{name}":
            _link(at, name, f"..data/{name}")


def _clean(at: int, dated: str) -> None:
    """Takes away the folders of earlier times."""
    for name in os.listdir(at):
        if name.startswith("..") and name not in ("..data", dated):
            with contextlib.suppress(OSError):
                handles.remove_tree(at, name)


def _target(at: int, name: str) -> str | None:
    """Where a link leads; None for what is no link."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:
        return None


def _holds(at: int, files: Files) -> bool:
    dated = _target(at, "..data")
    if dated is None or not dated.startswith("..") or "/" in dated or dated == "..":
        return False
    expected: dict[str, set[str]] = {"": set()}  # folder → names in it
    for name in files:
        parts = handles.parts_of(name)
        for depth, part in enumerate(parts):
            expected.setdefault("/".join(parts[:depth]), set()).add(part)
    try:
        with handles.folder(dated, at) as inside:
            if any(_names(inside, way) != names for way, names in expected.items()):
                return False
            return all(_same(inside, name, file) for name, file in files.items())
    except OSError:
        return False


def _names(at: int, way: str) -> set[str]:
    with handles.folder(way, at) as here:
        return set(os.listdir(here))


def _same(at: int, name: str, file: File) -> bool:
    with os.fdopen(handles.open_file(at, name), "rb") as found:
        facts = os.fstat(found.fileno())
        alike = facts.st_size == len(file.content) and stat.S_IMODE(facts.st_mode) == file.mode
        return alike and found.read(len(file.content)) == file.content
