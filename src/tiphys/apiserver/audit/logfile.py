"""The log: a line of JSON for each event, in a file that is rotated by size, age and number."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import os
import shutil
import sys
import threading
from pathlib import Path

_MEGABYTE = 1 << 20
_DAY = 86400
_STAMP = "%Y-%m-%dT%H-%M-%S.%f"


class LogFile:
    """Appends to a file that its owner alone may read; ``-`` is the standard output.

    most_bytes: from which the file is rotated, 0: never
    most_days, most_backups: how long, and how many rotated files are kept, 0: all
    """

    def __init__(
        self,
        path: str,
        most_megabytes: int = 100,
        most_days: int = 366,
        most_backups: int = 100,
        compress: bool = False,
    ) -> None:
        self._path = Path(path) if path != "-" else None
        self._most_bytes = most_megabytes * _MEGABYTE
        self._most_days = most_days
        self._most_backups = most_backups
        self._compress = compress
        self._lock = threading.Lock()
        self._tidying: threading.Thread | None = None
        self._size = 0
        self._file = sys.stdout.fileno() if self._path is None else self._open()

    def write(self, data: bytes) -> None:
        """Writes whole lines. Raises OSError. May be called on any thread."""
        with self._lock:
            full = self._most_bytes and self._size + len(data) > self._most_bytes
            if full and self._size and self._path is not None:
                self._rotate(self._path)
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            self._size += len(data)

    def close(self) -> None:
        with self._lock:
            if self._path is not None and self._file >= 0:
                os.close(self._file)
                self._file = -1
        if self._tidying is not None:
            self._tidying.join()

    def _open(self) -> int:
        assert self._path is not None
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(file).st_size
        return file

    def _rotate(self, path: Path) -> None:
        """Rotates the file: it gets a name with the time, as upstream's do."""
        stamp = datetime.datetime.now(datetime.UTC).strftime(_STAMP)[:-3]
        aside = path.with_name(f"{path.stem}-{stamp}{path.suffix}")
        path.rename(aside)
        old = self._file
        self._file = self._open()
        os.close(old)
        if self._tidying is None or not self._tidying.is_alive():
            self._tidying = threading.Thread(target=self._tidy, args=(path,), daemon=True)
            self._tidying.start()

    def backups(self) -> list[Path]:
        """The rotated files, the newest first."""
        if self._path is None:
            return []
        return _backups(self._path)

    def _tidy(self, path: Path) -> None:
        oldest = datetime.datetime.now(datetime.UTC).timestamp() - self._most_days * _DAY
        for number, backup in enumerate(_backups(path)):
            with contextlib.suppress(OSError):
                too_many = 0 < self._most_backups <= number
                if too_many or (self._most_days and backup.stat().st_mtime < oldest):
                    backup.unlink()
                elif self._compress and backup.suffix != ".gz":
                    _compress(backup)


def _backups(path: Path) -> list[Path]:
    names = [f"{path.stem}-*{path.suffix}", f"{path.stem}-*{path.suffix}.gz"]
    return sorted((file for name in names for file in path.parent.glob(name)), reverse=True)


def _compress(backup: Path) -> None:
    packed = backup.with_name(f"{backup.name}.gz")
    descriptor = os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with (
        backup.open("rb") as plain,
        os.fdopen(descriptor, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb") as file,
    ):
        shutil.copyfileobj(plain, file)
    backup.unlink()
