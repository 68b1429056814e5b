"""The file of `--kubelet-config`."""

from __future__ import annotations

from pathlib import Path

import yaml

from tiphys.node.configuration import DEFAULT, ConfigurationError, KubeletConfiguration, read


def read_kubelet_config(file: Path | None) -> KubeletConfiguration:
    """Raises ConfigurationError, OSError."""
    if file is None:
        return DEFAULT
    try:
        return read(yaml.safe_load(file.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"it cannot be read: {error}") from None
