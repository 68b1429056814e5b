"""The node's records of what it has pulled and with whose secrets, one file for each image, as
upstream's kubelet keeps them (`image_manager/pulled` and `pulling`).

What is about to be pulled is written down first: whatever becomes of the agent meanwhile, the image
is then known as pulled with unknown credentials, and its next pod has to show a secret.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tiphys.machinery import timestamps
from tiphys.node.images.access import (
    Access,
    SecretUse,
    VerificationPolicy,
    read,
    without_tag,
    written,
)

log = logging.getLogger(__name__)

_VERSION = "kubelet.config.k8s.io/v1beta1"
_MOST_BYTES = 4 << 20


class PullRecords:
    """`folder` is the node's `image_manager`."""

    def __init__(self, folder: Path, policy: VerificationPolicy | None = None) -> None:
        self._pulled = folder / "pulled"
        self._pulling = folder / "pulling"
        self._policy = policy or VerificationPolicy()
        self._records: dict[str, dict[str, Access]] = {}  # by image id
        self._intents: Counter[str] = Counter()
        self._load()

    def _load(self) -> None:
        for document in _documents(self._pulled):
            try:
                self._records[document["imageRef"]] = read(document.get("credentialMapping") or {})
            except (AttributeError, KeyError, TypeError):
                log.warning("A record of an image in %s cannot be read", self._pulled)
        for document in _documents(self._pulling):
            if isinstance(image := document.get("image"), str):
                self._intents[image] += 1

    # --- who may use an image ---

    @property
    def is_asked(self) -> bool:
        """Whether any image on the node may be closed to a pod."""
        return bool(self._records or self._intents) or self._policy.applies("", was_pulled=False)

    def must_pull(self, image: str, id: str, secrets: Callable[[], Iterable[SecretUse]]) -> bool:
        """Whether a pod has to pull an image, though it is there: it is not known that the pod may
        use it. `image` is as the pod calls it; `secrets` gives those of the pod that are for it.
        """
        record = self._records.get(id)
        was_pulled = record is not None or bool(self._intents[image])
        if not self._policy.applies(image, was_pulled):
            return False
        access = (record or {}).get(without_tag(image))
        if access is None:
            return True
        if access.everybody:
            return False
        opening = next((secret for secret in secrets() if access.opens(secret)), None)
        if opening is None:
            return True
        self.note_pulled(image, id, opening)  # its credentials may be new
        return False

    # --- what is pulled ---

    def note_intent(self, image: str) -> None:
        """Raises OSError: what cannot be written down is not pulled."""
        self._intents[image] += 1
        document = {"kind": "ImagePullIntent", "apiVersion": _VERSION, "image": image}
        _write(self._pulling, image, document)

    def forget_intent(self, image: str) -> None:
        self._intents[image] -= 1
        if self._intents[image] > 0:
            return
        del self._intents[image]
        _remove(self._pulling, image)

    def note_pulled(self, image: str, id: str, secret: SecretUse | None) -> None:
        """Without a `secret`, none was needed."""
        record = self._records.setdefault(id, {})
        access = record.setdefault(without_tag(image), Access())
        if not access.merge(secret is None, [secret] if secret is not None else []):
            return
        document = {
            "kind": "ImagePulledRecord",
            "apiVersion": _VERSION,
            "lastUpdatedTime": timestamps.rfc3339(time.time()),
            "imageRef": id,
            "credentialMapping": written(record),
        }
        try:
            _write(self._pulled, id, document)
        except OSError as error:
            log.warning("With whose secret image %s was pulled is not noted: %s", image, error)

    def ids(self) -> list[str]:
        """Of the images that there are records of."""
        return list(self._records)

    def forget(self, id: str) -> None:
        """The image is gone."""
        if self._records.pop(id, None) is not None:
            _remove(self._pulled, id)


def _file(folder: Path, name: str) -> Path:
    return folder / f"sha256-{hashlib.sha256(name.encode()).hexdigest()}"


def _write(folder: Path, name: str, document: dict[str, Any]) -> None:
    """Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = _file(folder, name)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    os.replace(fresh, file)


def _remove(folder: Path, name: str) -> None:
    try:
        _file(folder, name).unlink(missing_ok=True)
    except OSError as error:
        log.warning("A record of image %s stays: %s", name, error)


def _documents(folder: Path) -> Iterable[dict[str, Any]]:
    for file in sorted(folder.glob("sha256-*")) if folder.is_dir() else ():
        try:
            with file.open("rb") as opened:
                document = json.loads(opened.read(_MOST_BYTES))
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read: %s", file, error)
            continue
        if isinstance(document, dict) and file.suffix != ".new":
            yield document
