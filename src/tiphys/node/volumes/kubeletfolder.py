"""The node's own `/var/lib/kubelet`.

Drivers find the node at fixed paths below it. Several nodes live on one machine, so each has a
folder of its own that stands there (docs/decisions/0024). What drivers leave in it is looked up
part by part: no link leads out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from tiphys.machinery import handles

SHOWN = "/var/lib/kubelet"  # where pods and drivers see it
_SECCOMP = "seccomp"  # folder of profiles, as upstream
_FOLDER_MODE = 0o755  # of folders that are made on the way, as upstream's DirectoryOrCreate


class KubeletFolder:
    """`root` is where the node has it; made when it is first used."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def holds(self, path: str) -> bool:
        """Whether a path, as a pod sees it, is this folder or below it."""
        plain = os.path.normpath(path)
        return plain == SHOWN or plain.startswith(f"{SHOWN}/")

    def place(self, path: str, make: bool = False) -> str:
        """Where what a pod calls `path` is on the machine; other paths stay what they are. With
        `make`, a folder is made of what is missing. Raises OSError where a link leads out of the
        node's folder."""
        if not self.holds(path):
            return path
        inside = os.path.relpath(os.path.normpath(path), SHOWN)
        place = self.root / inside
        if not make and not os.path.lexists(place):
            return self._missing(place)
        with self._opened() as root:
            handle = handles.find(root, inside, SHOWN, _FOLDER_MODE)
        try:
            return os.readlink(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)

    def seccomp_profile(self, name: str) -> str:
        """Where the file of a profile is on the machine. Raises OSError where its name, or a link,
        leads out of the folder of profiles."""
        path = os.path.normpath(f"{SHOWN}/{_SECCOMP}/{name}")
        if not path.startswith(f"{SHOWN}/{_SECCOMP}/"):
            raise PermissionError(errno.EACCES, "the profile is not below the node's", name)
        return self.place(path)

    def is_served(self, path: str) -> bool:
        """Whether a process listens on the socket that a plugin calls `path`."""
        try:
            handle = self.open_socket(path)
        except OSError:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.setblocking(False)
                # A listener that is busy (EAGAIN) is one, too.
                return connection.connect_ex(f"/proc/self/fd/{handle}") in (0, errno.EAGAIN)
        finally:
            os.close(handle)

    def _missing(self, place: Path) -> str:
        """Where something would be made that is not there. Raises OSError."""
        real = Path(os.path.realpath(place))
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise OSError(errno.EXDEV, "leads outside of its folder", str(place))
        return str(real)

    @contextlib.contextmanager
    def folder(self, name: str) -> Iterator[int]:
        """A folder in it, made if it is missing, as an open handle. Raises OSError."""
        with self._opened() as root, handles.folder(name, root, make=0o750) as handle:
            yield handle

    def open_socket(self, path: str) -> int:
        """A handle (O_PATH) of the socket that a plugin calls `path`. It stays this very socket,
        and ``/proc/self/fd/HANDLE`` is a short path to it (a socket's address has 107 bytes).
        Raises OSError for what is no socket, and for any link."""
        if not self.holds(path):
            raise OSError(errno.EXDEV, f"is not below {SHOWN}", path)
        inside = os.path.relpath(os.path.normpath(path), SHOWN)
        parent, name = os.path.split(inside)
        with self._opened() as root, handles.folder(parent, root) as folder:
            handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.ENOTSOCK, "is not a socket", path)
        return handle

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o750)
        with handles.folder(self.root) as root:
            yield root
