"""The encryption of a cluster's store: the configuration that `tiphys up --encrypt` makes, and the
rotation of its key."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.cluster.certificates import write_private
from tiphys.cluster.state import Cluster, ClusterError

if TYPE_CHECKING:
    from tiphys.store.encryption.configuration import EncryptionConfiguration, Key

OWN_FILE = "encryption.yaml"
_KEY_SIZE = 32  # bytes


def own_file(cluster: Cluster) -> Path:
    """Where the configuration lies that we make."""
    return cluster.root / OWN_FILE


def check(cluster: Cluster) -> None:
    """Whether the cluster's configuration can be used, if it is there already. Raises
    ClusterError."""
    if not cluster.encryption_config:
        return
    file = Path(cluster.encryption_config)
    if file == own_file(cluster) and not file.exists() and not _has_data(cluster):
        return
    read(cluster)


def _has_data(cluster: Cluster) -> bool:
    """Whether there may be values that a lost key has sealed."""
    from tiphys.cluster import state

    known = state.load(cluster.name, cluster.root)
    return known is not None and known.encryption_config == cluster.encryption_config


def ensure(cluster: Cluster) -> None:
    """Makes the configuration of `--encrypt` when there is none yet."""
    file = own_file(cluster)
    if cluster.encryption_config == str(file) and not file.exists():
        write(file, _first_configuration())


def read(cluster: Cluster) -> EncryptionConfiguration:
    """The cluster's configuration. Raises ClusterError."""
    from tiphys.store.encryption import configuration

    try:
        return configuration.read(Path(cluster.encryption_config)).configuration
    except configuration.ConfigurationError as error:
        raise ClusterError(
            f"{error}; what is stored encrypted cannot be read without its keys"
        ) from None


def write(file: Path, configuration: EncryptionConfiguration) -> None:
    import msgspec
    import yaml

    text = yaml.safe_dump(msgspec.to_builtins(configuration), sort_keys=False)
    write_private(file, text.encode())


def _first_configuration() -> EncryptionConfiguration:
    """Secrets with a new key. What was stored before stays readable."""
    from tiphys.store.encryption.configuration import (
        EncryptionConfiguration,
        Keys,
        Provider,
        Resources,
    )

    providers = [Provider(secretbox=Keys([new_key("key1")])), Provider(identity={})]
    return EncryptionConfiguration(
        "apiserver.config.k8s.io/v1",
        "EncryptionConfiguration",
        [Resources(["secrets"], providers)],
    )


def new_key(name: str) -> Key:
    """A random key, of a size that every provider takes."""
    from tiphys.store.encryption.configuration import Key

    return Key(name, base64.b64encode(os.urandom(_KEY_SIZE)).decode())
