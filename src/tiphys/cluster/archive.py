"""The file of a backup: a compressed tar with a manifest, encrypted in the age format when asked.

The manifest stands first and has the SHA-256 of every other member, so that a file that was cut or
changed is noticed before anything is restored from it. What is encrypted can be opened without us,
too: ``age -d backup | tar xz``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from tiphys.cluster.state import ClusterError

FORMAT = 1  # of the archive; a reader takes its own and older ones
_MANIFEST = "manifest.json"
_AGE = b"age-encryption.org/v1"
_CHUNK = 1 << 20
_LONGEST_MANIFEST = 1 << 20


@dataclass(frozen=True)
class Lock:
    """With what a backup is encrypted, or opened: a passphrase, or keys of age.

    recipients: public keys (age1...), of whom each can open it alone
    identities: private keys (AGE-SECRET-KEY-...)
    """

    passphrase: str = ""
    recipients: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.passphrase or self.recipients or self.identities)


@dataclass
class Manifest:
    """What a backup is of. `files` is the SHA-256 of each member by its name."""

    version: str
    created: str
    cluster: dict[str, Any]
    revision: int
    objects: int
    format: int = FORMAT
    files: dict[str, str] = field(default_factory=dict)


def write(target: Path, manifest: Manifest, folder: Path, lock: Lock) -> None:
    """Writes everything below a folder into a file that only its owner can read, whole or not at
    all. Raises ClusterError."""
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    manifest.files = {name: _digest(folder / name) for name in names}
    with _replacing(target) as out, tempfile.TemporaryFile(dir=target.parent) as plain:
        tar_out: IO[bytes] = plain if lock else out
        _write_tar(tar_out, manifest, folder, names)
        if lock:
            plain.seek(0)
            _encrypt(plain, out, lock)


def _write_tar(out: IO[bytes], manifest: Manifest, folder: Path, names: list[str]) -> None:
    text = json.dumps(asdict(manifest), indent=1).encode()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=3) as tar:
        head = tarfile.TarInfo(_MANIFEST)
        head.size = len(text)
        head.mode = 0o600
        tar.addfile(head, io.BytesIO(text))
        for name in names:
            with open(folder / name, "rb") as file:
                member = tarfile.TarInfo(name)
                member.size = os.fstat(file.fileno()).st_size
                member.mode = 0o600
                tar.addfile(member, file)


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    temporary = target.with_name(f".{target.name}.new")
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
    except OSError as error:
        raise ClusterError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def extract(source: Path, folder: Path, lock: Lock) -> Manifest:
    """Puts the members into a folder, once the whole file is known to be as it was written. Raises
    ClusterError."""
    try:
        with open(source, "rb") as file, tempfile.TemporaryFile(dir=folder) as plain:
            encrypted = file.read(len(_AGE)) == _AGE
            file.seek(0)
            if encrypted:
                _decrypt(source, file, plain, lock)
                plain.seek(0)
            return _read_tar(source, plain if encrypted else file, folder)
    except OSError as error:
        raise ClusterError(f"{source} cannot be read: {error.strerror or error}") from None


def is_encrypted(source: Path) -> bool:
    """Whether a file is in the age format. Raises ClusterError."""
    try:
        with open(source, "rb") as file:
            return file.read(len(_AGE)) == _AGE
    except OSError as error:
        raise ClusterError(f"{source} cannot be read: {error.strerror}") from None


def _read_tar(source: Path, file: IO[bytes], folder: Path) -> Manifest:
    damaged = f"{source} is damaged, or no backup of a cluster"
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as tar:
            manifest = _read_manifest(source, tar)
            for member in tar:
                if member.name == _MANIFEST:
                    continue
                if member.name not in manifest.files or not member.isfile():
                    raise ClusterError(f"{damaged}: {member.name} is not in its manifest")
                _write_member(tar, member, folder / member.name)
            while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
                pass  # gzip compares its checksum at the end
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{damaged} ({error})") from None
    except OSError as error:  # gzip's errors are OSErrors without a number
        raise ClusterError(f"{damaged} ({error.strerror or error})") from None
    for name, digest in manifest.files.items():
        extracted = folder / name
        if not extracted.is_file() or _digest(extracted) != digest:
            raise ClusterError(f"{damaged}: {name} is not what was saved")
    return manifest


def _read_manifest(source: Path, tar: tarfile.TarFile) -> Manifest:
    head = tar.next()
    body = tar.extractfile(head) if head is not None and head.name == _MANIFEST else None
    if body is None:
        raise ValueError("it has no manifest")
    fields = json.loads(body.read(_LONGEST_MANIFEST))
    if fields["format"] > FORMAT:
        raise ClusterError(
            f"{source} was made by tiphys {fields['version']}, which is newer than this one; "
            "install that release to restore it"
        )
    manifest = Manifest(**fields)
    for name in manifest.files:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{name} is outside")
    return manifest


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    body = tar.extractfile(member)
    assert body is not None
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        while chunk := body.read(_CHUNK):
            out.write(chunk)


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# --- age ---


def _encrypt(plain: IO[bytes], out: IO[bytes], lock: Lock) -> None:
    import pyrage

    try:
        if lock.passphrase:
            out.write(pyrage.passphrase.encrypt(plain.read(), lock.passphrase))
            return
        recipients = [pyrage.x25519.Recipient.from_str(text) for text in lock.recipients]
        pyrage.encrypt_io(plain, out, recipients)
    except (pyrage.RecipientError, pyrage.EncryptError) as error:
        raise ClusterError(f"the backup was not encrypted: {error}") from None


def _decrypt(source: Path, file: IO[bytes], out: IO[bytes], lock: Lock) -> None:
    import pyrage

    if not lock:
        raise ClusterError(f"{source} is encrypted: give its --passphrase-file or --identity")
    try:
        if lock.passphrase:
            out.write(pyrage.passphrase.decrypt(file.read(), lock.passphrase))
            return
        identities = [pyrage.x25519.Identity.from_str(text) for text in lock.identities]
        pyrage.decrypt_io(file, out, identities)
    except (pyrage.DecryptError, pyrage.IdentityError, OSError) as error:
        key = "passphrase" if lock.passphrase else "identity"
        raise ClusterError(
            f"{source} does not open ({error}): the {key} is another one, or the file is damaged"
        ) from None
