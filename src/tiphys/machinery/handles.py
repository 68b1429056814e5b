"""Folders as open handles: below a folder that a container can write to, nothing is looked up by
its path.

A process that can write to a folder can replace any part of a path through it by a link, between
our check and our use of it. An open handle stays what it was. Every function here takes handles,
opens one part of a path at a time, and follows no link, unless it says so. The one module of this
room that touches the disk: the node and the provisioner both need it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEPTH = 64  # folders held open at once while a tree is removed; what lies deeper is moved up first
_STEPS = 2048  # parts looked up on the way to one place, links' targets among them
_LINKS = 40  # links followed on the way, as the kernel allows


def parts_of(path: str) -> list[str]:
    """The parts of a relative path. Raises OSError for one that the kernel would not take or that
    leads up."""
    if "\0" in path or len(os.fsencode(path)) >= 4096:
        raise OSError(errno.EINVAL, "not a path", path[:100])
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise OSError(errno.EXDEV, "leads outside of its folder", path)
    return parts


@contextlib.contextmanager
def folder(path: str | Path, parent: int | None = None, make: int | None = None) -> Iterator[int]:
    """An open folder. Without `parent` the path is trusted but for its last part; with it, no part
    may be a link. With `make` (a mode) missing parts are made."""
    handle = (
        os.open(path, FOLDER) if parent is None else _descend(parent, parts_of(str(path)), make)
    )
    try:
        yield handle
    finally:
        os.close(handle)


def _descend(parent: int, parts: list[str], make: int | None) -> int:
    handle = os.dup(parent)
    for part in parts:
        try:
            below = _open_or_make(part, handle, make)
        finally:
            os.close(handle)
        handle = below
    return handle


def _open_or_make(name: str, parent: int, make: int | None) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if make is None:
            raise
    return make_folder(parent, name, make)


def make_folder(parent: int, name: str, mode: int) -> int:
    """Makes a folder with this very mode, whatever the umask says, and opens it. One that came
    meanwhile is taken."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return os.open(name, FOLDER, dir_fd=parent)
    handle = os.open(name, FOLDER, dir_fd=parent)
    os.fchmod(handle, mode)
    return handle


def open_file(parent: int, path: str) -> int:
    """A regular file to read. A link, a pipe or a device raises OSError at once."""
    *way, name = parts_of(path) or [""]
    with folder("/".join(way), parent) as folder_handle:
        handle = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_handle
        )
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return handle


def read_file(parent: int, path: str, limit: int) -> bytes:
    """The first `limit` bytes of a regular file."""
    handle = open_file(parent, path)
    with os.fdopen(handle, "rb") as file:
        return file.read(limit)


def write_file(
    parent: int, name: str, content: bytes, mode: int, user: int = -1, group: int = -1
) -> None:
    """A file in an open folder that holds just this. What stands there already keeps its place:
    others may have it mounted. A link there raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(name, flags, 0o600, dir_fd=parent)
    with os.fdopen(handle, "wb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        os.ftruncate(handle, 0)
        file.write(content)
        file.flush()
        if user >= 0 or group >= 0:
            os.fchown(handle, user, group)
        os.fchmod(handle, mode)  # after the owner: a change of owner takes some bits away


def find(root: int, path: str, base: str, make: int) -> int:
    """A handle (O_PATH) of what `path` names below the open folder `root`, a folder, a file or
    whatever else.

    Links are followed by us, part for part, as long as they stay below `root`, whose own path is
    `base`; an absolute link counts from there. Missing parts are made as folders with the mode
    `make`. Raises OSError.
    """
    search = _Search(root, path, base)
    try:
        while search.todo:
            search.step(make)
    except BaseException:
        os.close(search.handle)
        raise
    return search.handle


class _Search:
    """`handle` is where we are, `way` the names that lead there from `root`, `todo` the parts to
    go, the next one last."""

    def __init__(self, root: int, path: str, base: str) -> None:
        self._root = root
        self._path = path
        self._base = base
        self._steps = self._links = 0
        self._way: list[str] = []
        self.todo = list(reversed(parts_of(path)))
        self.handle = _itself(root)

    def step(self, make: int) -> None:
        part = self.todo.pop()
        self._count(1)
        if part == "..":
            self._up()
            return
        below = _look(self.handle, part, make)
        if not stat.S_ISLNK(os.fstat(below).st_mode):
            self._go(below)
            self._way.append(part)
            return
        try:
            target = os.readlink("", dir_fd=below)
        finally:
            os.close(below)
        self._follow(target)

    def _follow(self, target: str) -> None:
        self._links += 1
        if target.startswith("/"):
            if target != self._base and not target.startswith(f"{self._base}/"):
                raise OSError(errno.EXDEV, "leads outside of its folder", self._path)
            target = target[len(self._base) :]
            self._way.clear()
            self._go(_itself(self._root))
        self.todo += reversed([part for part in target.split("/") if part not in ("", ".")])

    def _up(self) -> None:
        """By the names that led here, for the folder may have been moved since."""
        if not self._way:
            raise OSError(errno.EXDEV, "leads outside of its folder", self._path)
        self._way.pop()
        self._count(len(self._way))
        self._go(_descend(self._root, self._way, None))

    def _go(self, handle: int) -> None:
        os.close(self.handle)
        self.handle = handle

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._links > _LINKS or self._steps > _STEPS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)


def _itself(folder_handle: int) -> int:
    return os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_handle)


def _look(parent: int, name: str, make: int) -> int:
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return make_folder(parent, name, make)


# --- removal ---


def remove_tree(parent: int, name: str) -> None:
    """Removes what `name` is in an open folder, and all below it; nothing when there is nothing.
    Links go and what they lead to stays, and so does whatever is mounted there. Raises OSError for
    what would not go."""
    if name in ("", ".", "..") or "/" in name:
        raise OSError(errno.EINVAL, "not a name", name)
    try:
        top = os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=parent)
        return
    try:
        if _mount(top) != _mount(parent):
            raise OSError(errno.EBUSY, "something is mounted there", name)
        removal = _Removal(top)
        removal.clear(top)
    finally:
        os.close(top)
    if removal.error is not None:
        raise removal.error
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def remove_folder(path: Path) -> None:
    """Removes all that is in a folder, and the folder if nothing is mounted there. Its own path is
    trusted. What will not go stays, with a first OSError about it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    removal = _Removal(handle)
    try:
        removal.clear(handle)
    finally:
        os.close(handle)
    if removal.error is not None:
        raise removal.error
    with contextlib.suppress(OSError):
        os.rmdir(path)


class _Removal:
    """One pass after another, until one finds nothing that it can remove: a tree may be deeper than
    files can be open. What will not go does not keep the rest; the first such error is kept in
    `error`."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._mount = _mount(top)
        self._moved = 0
        self.error: OSError | None = None

    def clear(self, handle: int, depth: int = 0) -> None:
        while self._pass(handle, depth):
            pass

    def _pass(self, handle: int, depth: int) -> int:
        """How many entries of a folder went. Read as they come: there may be millions."""
        gone = 0
        with os.scandir(handle) as entries:
            for entry in entries:
                try:
                    self._entry(entry, handle, depth)
                    gone += 1
                except FileNotFoundError:
                    pass  # removed by another process meanwhile
                except OSError as error:
                    self.error = self.error or error
        return gone

    def _entry(self, entry: os.DirEntry[str], parent: int, depth: int) -> None:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=parent)
        elif depth >= _DEPTH:
            self._moved += 1
            os.rename(
                entry.name,
                f"..deep-{os.getpid()}-{self._moved}",
                src_dir_fd=parent,
                dst_dir_fd=self._top,
            )
        else:
            self._folder(entry.name, parent, depth)

    def _folder(self, name: str, parent: int, depth: int) -> None:
        handle = os.open(name, FOLDER, dir_fd=parent)
        try:
            if _mount(handle) != self._mount:
                raise OSError(errno.EBUSY, "something is mounted there", name)
            self.clear(handle, depth + 1)
        finally:
            os.close(handle)
        os.rmdir(name, dir_fd=parent)


def _mount(handle: int) -> str:
    """Which mount a handle is of. Two mounts of one file system have one device number, so that
    would not do."""
    with open(f"/proc/self/fdinfo/{handle}") as file:
        return next((line for line in file if line.startswith("mnt_id:")), "")
