"""What tables show of an object."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import admissionregistration_v1, batch_v1, core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.apiserver.resources.admissionpolicybindings import (
    ValidatingAdmissionPolicyBindingStrategy,
)
from tiphys.apiserver.resources.base import Settings
from tiphys.apiserver.resources.cronjobs import CronJobStrategy
from tiphys.apiserver.resources.persistentvolumeclaims import PersistentVolumeClaimStrategy
from tiphys.apiserver.resources.services.strategy import ServiceStrategy
from tiphys.apiserver.resources.volumeattachments import VolumeAttachmentStrategy

BINDING = admissionregistration_v1.ValidatingAdmissionPolicyBinding
ATTACHMENT = storage_v1.VolumeAttachment
CLAIM = core_v1.PersistentVolumeClaim


@pytest.mark.parametrize(
    ("strategy", "kind", "body", "cells"),
    [
        (
            ValidatingAdmissionPolicyBindingStrategy,
            BINDING,
            {"spec": {"policyName": "p", "paramRef": {"name": "q"}}},
            {"PolicyName": "p", "ParamRef": "q"},
        ),
        (
            ValidatingAdmissionPolicyBindingStrategy,
            BINDING,
            {"spec": {"policyName": "p"}},
            {"ParamRef": "<unset>"},
        ),
        (
            VolumeAttachmentStrategy,
            ATTACHMENT,
            {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
            {"Attacher": "a", "PV": "v", "Node": "n", "Attached": False},
        ),
        (
            VolumeAttachmentStrategy,
            ATTACHMENT,
            {"spec": {"source": {}}, "status": {"attached": True}},
            {"PV": "", "Attached": True},
        ),
        (
            PersistentVolumeClaimStrategy,
            CLAIM,
            {
                "spec": {"volumeName": "v", "storageClassName": "fast"},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
            },
            {"Status": "Bound", "Volume": "v", "Capacity": "1Gi", "StorageClass": "fast"},
        ),
        (
            ServiceStrategy,
            core_v1.Service,
            {"spec": {"type": "ExternalName", "externalName": "a.b"}},
            {"Type": "ExternalName", "Cluster-IP": "<none>", "External-IP": "a.b"},
        ),
        (
            CronJobStrategy,
            batch_v1.CronJob,
            {"spec": {"schedule": "* * * * *", "suspend": True}},
            {"Schedule": "* * * * *", "Timezone": "<none>", "Suspend": "True", "Active": 0},
        ),
    ],
)
def test_cells(strategy: Any, kind: Any, body: dict[str, Any], cells: dict[str, Any]) -> None:
    obj = from_builtins(body, kind)
    shown = {column.name: column.cell(obj) for column in strategy(Settings()).columns}
    assert {name: shown.get(name) for name in cells} == cells
