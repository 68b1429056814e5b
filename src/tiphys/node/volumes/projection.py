"""Writes the files of a volume that is made from objects, all at once.

As upstream, they lie in a dated folder behind the link ``..data``, which changes in one step; the
names that programs open are links through it. Containers see such a volume read-only, but a
privileged one can make it writable again: so nothing in it is trusted, and everything is done
through open handles.
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

# What a volume's group adds to the mode of files, as upstream.
_GROUP_READS = 0o440


def write_files(volume: Path, files: Files, group: int | None = None) -> None:
    """Makes the volume hold just these files. Raises OSError."""
    for name in files:
        if not handles.parts_of(name) or name.startswith(".."):
            raise OSError(f"{name!r} is not a path of a file")
    if group is not None:
        files = {name: file._replace(mode=file.mode | _GROUP_READS) for name, file in files.items()}
    volume.mkdir(parents=True, exist_ok=True)
    with handles.folder(volume) as root:
        if _holds(root, files):
            return
        dated = f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.time_ns() % 10**9:09}"
        os.close(handles.make_folder(root, dated, 0o755))
        for name, file in files.items():
            _write(root, f"{dated}/{name}", file, -1 if group is None else group)
        _link(root, "..data", dated)
        _show(root, {handles.parts_of(name)[0] for name in files})
        _clean(root, dated)


def _write(root: int, path: str, file: File, group: int) -> None:
    *folders, name = handles.parts_of(path)
    with handles.folder("/".join(folders), root, make=0o755) as folder:
        handles.write_file(folder, name, file.content, file.mode, file.user, group)


def _link(root: int, name: str, target: str) -> None:
    """Makes a link, in one step unless a folder is in its place."""
    new = f"{name}_tmp"
    handles.remove_tree(root, new)
    os.symlink(target, new, dir_fd=root)
    try:
        os.rename(new, name, src_dir_fd=root, dst_dir_fd=root)
    except IsADirectoryError:
        handles.remove_tree(root, name)
        os.rename(new, name, src_dir_fd=root, dst_dir_fd=root)


def _show(root: int, names: set[str]) -> None:
    """Makes links for the names, and removes other links."""
    present = {name: _target(root, name) for name in os.listdir(root) if not name.startswith("..")}
    for name, target in present.items():
        if name not in names and target is not None:
            os.unlink(name, dir_fd=root)
    for name in names:
        if present.get(name) != f"..data/{name}":
            _link(root, name, f"..data/{name}")


def _clean(root: int, dated: str) -> None:
    """Removes the dated folders of earlier writes."""
    for name in os.listdir(root):
        if name.startswith("..") and name not in ("..data", dated):
            with contextlib.suppress(OSError):
                handles.remove_tree(root, name)


def _target(root: int, name: str) -> str | None:
    """Where a link leads; None for what is not a link."""
    try:
        return os.readlink(name, dir_fd=root)
    except OSError:
        return None


def _holds(root: int, files: Files) -> bool:
    """Whether the volume has just these files already."""
    dated = _target(root, "..data")
    if dated is None or not dated.startswith("..") or "/" in dated or dated == "..":
        return False
    expected: dict[str, set[str]] = {"": set()}  # folder -> names in it
    for name in files:
        parts = handles.parts_of(name)
        for depth, part in enumerate(parts):
            expected.setdefault("/".join(parts[:depth]), set()).add(part)
    try:
        with handles.folder(dated, root) as inside:
            if any(_names(inside, folder) != names for folder, names in expected.items()):
                return False
            return all(_same(inside, name, file) for name, file in files.items())
    except OSError:
        return False


def _names(root: int, path: str) -> set[str]:
    with handles.folder(path, root) as folder:
        return set(os.listdir(folder))


def _same(root: int, name: str, file: File) -> bool:
    with os.fdopen(handles.open_file(root, name), "rb") as present:
        facts = os.fstat(present.fileno())
        size = len(file.content)
        if facts.st_size != size or stat.S_IMODE(facts.st_mode) != file.mode:
            return False
        return present.read(size) == file.content
