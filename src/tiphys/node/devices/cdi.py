"""Devices as their drivers describe them in files (Container Device Interface, CNCF).

A newer runtime reads these files itself. For containerd before 1.7, which does not, the node does:
variables, mounts and device files. What else a description may ask for, hooks for example, is
refused with words: a container that lacks half of its device would be worse.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tiphys.node.devices.edits import ContainerEdits
from tiphys.node.runtime import DeviceNode, Mount

FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))  # what the last one has goes before
_MOST_FILES = 512
_MOST_BYTES = 1 << 20
_PROPAGATION = {"rslave": 1, "slave": 1, "rshared": 2, "shared": 2}  # CRI's numbers


class CDIError(Exception):
    """A device is described by no file, or in a way that cannot be carried out."""


class _DeviceNode(msgspec.Struct, rename="camel", frozen=True):
    path: str
    host_path: str = ""
    permissions: str = "rwm"


class _Mount(msgspec.Struct, rename="camel", frozen=True):
    host_path: str
    container_path: str
    options: list[str] = []


class _Edits(msgspec.Struct, rename="camel", frozen=True):
    env: list[str] = []
    device_nodes: list[_DeviceNode] = []
    mounts: list[_Mount] = []
    hooks: list[Any] = []
    additional_gids: list[int] = []
    intel_rdt: Any = None
    net_devices: list[Any] = []


class _Device(msgspec.Struct, rename="camel", frozen=True):
    name: str
    container_edits: _Edits = _Edits()


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    kind: str
    devices: list[_Device] = []
    container_edits: _Edits = _Edits()


def read(names: list[str], folders: tuple[Path, ...] = FOLDERS) -> ContainerEdits:
    """What a container gets that is to have the devices, such as ``gpu.example.com/gpu=one``.
    Raises CDIError. Reads from disk."""
    wanted = {_kind(name) for name in names}
    specs = [spec for spec in _specs(folders) if spec.kind in wanted]
    edits = ContainerEdits()
    used: list[_Spec] = []
    for name in names:
        spec, device = _find(specs, name)
        if spec not in used:
            used.append(spec)
            edits.add(_carried_out(spec.container_edits, spec.kind))
        edits.add(_carried_out(device.container_edits, name))
    return edits


def _kind(name: str) -> str:
    kind, _, device = name.partition("=")
    if "/" not in kind or not device:
        raise CDIError(f'"{name}" is not the name of a CDI device')
    return kind


def _find(specs: list[_Spec], name: str) -> tuple[_Spec, _Device]:
    kind, _, device_name = name.partition("=")
    for spec in reversed(specs):
        for device in spec.devices:
            if spec.kind == kind and device.name == device_name:
                return spec, device
    raise CDIError(f"unresolvable CDI devices {name}")


def _specs(folders: tuple[Path, ...]) -> Iterator[_Spec]:
    """Every description that can be read; the others are left alone."""
    for file in _files(folders):
        try:
            with file.open("rb") as opened:
                content = opened.read(_MOST_BYTES)
            is_json = file.suffix == ".json"
            parsed = msgspec.json.decode(content) if is_json else yaml.safe_load(content)
            yield msgspec.convert(parsed, _Spec)
        except (OSError, ValueError, yaml.YAMLError, msgspec.ValidationError):
            continue


def _files(folders: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))[:_MOST_FILES]
        except OSError:
            continue
        files += [
            folder / name
            for name in names
            if name.endswith((".json", ".yaml", ".yml")) and (folder / name).is_file()
        ]
    return files


def _carried_out(edits: _Edits, owner: str) -> ContainerEdits:
    refused = {
        "hooks": edits.hooks,
        "additionalGids": edits.additional_gids,
        "intelRdt": edits.intel_rdt,
        "netDevices": edits.net_devices,
    }
    for edit, value in refused.items():
        if value:
            raise CDIError(f"CDI device {owner} asks for {edit}, which needs containerd 1.7")
    return ContainerEdits(
        env=dict(_variable(text, owner) for text in edits.env),
        mounts=[_mount(mount) for mount in edits.mounts],
        devices=[
            DeviceNode(node.host_path or node.path, node.path, node.permissions or "rwm")
            for node in edits.device_nodes
        ],
    )


def _variable(text: str, owner: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CDIError(f'CDI device {owner} has the variable "{text}" without a value')
    return name, value


def _mount(mount: _Mount) -> Mount:
    shared = [_PROPAGATION[option] for option in mount.options if option in _PROPAGATION]
    return Mount(
        mount.host_path,
        mount.container_path,
        "ro" in mount.options,
        shared[0] if shared else 0,
    )
