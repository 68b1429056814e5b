"""Volumes of pods."""

from __future__ import annotations

from tests.apiserver.validation.cases import LABEL, Case, Rules, volume

VOLUMES = Rules("Volumes", "core/validation: ValidateVolumes", [
    volume("name", f'Invalid value: "V": {LABEL}', name="V", emptyDir={}),
    volume("name", "Required value", name="", emptyDir={}),
    Case("pods", "spec.volumes[1].name", {"spec": {"volumes": [{"name": "v", "emptyDir": {}}] * 2}}, 'Duplicate value: "v"'),
    volume("configMap", "may not specify more than 1 volume type", emptyDir={}, configMap={"name": "x"}),
    volume("hostPath.path", "Required value", hostPath={"path": ""}),
    volume("hostPath.path", "must not contain '..'", hostPath={"path": "/a/../b"}),
    volume("hostPath.type", 'Unsupported value: "Thing"', hostPath={"path": "/a", "type": "Thing"}),
    volume("secret.secretName", "Required value", secret={"secretName": ""}),
    volume("secret.defaultMode", "must be a number between 0 and 0777 (octal), both inclusive", secret={"secretName": "x", "defaultMode": 512}),
    volume("configMap.name", "Required value", configMap={"name": ""}),
    volume("configMap.items[0].path", "must be a relative path", configMap={"name": "x", "items": [{"key": "k", "path": "/p"}]}),
    volume("configMap.items[0].path", "must not contain '..'", configMap={"name": "x", "items": [{"key": "k", "path": "../p"}]}),
    volume("configMap.items[0].path", "must not start with '..'", configMap={"name": "x", "items": [{"key": "k", "path": "..data"}]}),
    volume("projected.path", "must not start with '..'", projected={"sources": [{"serviceAccountToken": {"path": "..t"}}]}),
    volume("configMap.items[0].key", "Required value", configMap={"name": "x", "items": [{"key": "", "path": "p"}]}),
    volume("configMap.items[0].mode", "must be a number between 0 and 0777 (octal), both inclusive", configMap={"name": "x", "items": [{"key": "k", "path": "p", "mode": 512}]}),
    volume("emptyDir.sizeLimit", "Forbidden: SizeLimit field must be a valid resource quantity", emptyDir={"sizeLimit": "-1"}),
    volume("persistentVolumeClaim.claimName", "Required value", persistentVolumeClaim={"claimName": ""}),
    volume("nfs.path", "must be an absolute path", nfs={"server": "s", "path": "p"}),
    volume("nfs.server", "Required value", nfs={"server": "", "path": "/p"}),
    volume("downwardAPI.fieldRef.fieldPath", 'Unsupported value: "spec.nodeName": supported values: "metadata.annotations"', downwardAPI={"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.nodeName"}}]}),
    volume("downwardAPI.fieldRef.fieldPath", "error converting fieldPath: field label not supported: spec.containers", downwardAPI={"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.containers"}}]}),
    volume("downwardAPI.resourceFieldRef.containerName", "Required value", downwardAPI={"items": [{"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}}]}),
    volume("downwardAPI.resourceFieldRef.resource", 'Unsupported value: "limits.gpu"', downwardAPI={"items": [{"path": "p", "resourceFieldRef": {"containerName": "c", "resource": "limits.gpu"}}]}),
    volume("downwardAPI", "one of fieldRef and resourceFieldRef is required", downwardAPI={"items": [{"path": "p"}]}),
    volume("projected.sources[0].serviceAccountToken.expirationSeconds", "may not specify a duration less than 10 minutes", projected={"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}),
    volume("projected.path", "Required value", projected={"sources": [{"serviceAccountToken": {"path": ""}}]}),
    volume("projected.sources[0].configMap.name", "Required value", projected={"sources": [{"configMap": {"name": ""}}]}),
    volume("csi.driver", "Required value", csi={"driver": ""}),
    volume("image.reference", "Required value", image={"reference": ""}),
    volume("image.pullPolicy", 'Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never"', image={"reference": "r", "pullPolicy": "x"}),
], ("providers that are gone: disks of clouds, Ceph, Gluster and the like",))
