"""Names, labels and annotations."""

from __future__ import annotations

from tests.apiserver.validation.cases import LABEL, SUBDOMAIN, Case, Rules, change

METADATA = Rules("Metadata of every object", "apimachinery: api/validation/objectmeta.go", [
    Case("configmaps", "metadata.name", {"metadata": {"name": "A"}}, f'Invalid value: "A": {SUBDOMAIN}'),
    Case("services", "metadata.name", {"metadata": {"name": "1a.b"}}, 'Invalid value: "1a.b": a lowercase RFC 1123 label must consist of'),
    Case("namespaces", "metadata.name", {"metadata": {"name": "a.b"}}, f'Invalid value: "a.b": {LABEL}'),
    Case("configmaps", "metadata.name", {"metadata": {"name": None}}, "Required value: name or generateName is required"),
    Case("configmaps", "metadata.generateName", {"metadata": {"name": None, "generateName": "A-"}}, "Invalid value"),
    Case("configmaps", "metadata.labels", {"metadata": {"labels": {"a b": "c"}}}, 'Invalid value: "a b": name part must consist of alphanumeric characters'),
    Case("configmaps", "metadata.labels", {"metadata": {"labels": {"a": "b c"}}}, 'Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters'),
    Case("configmaps", "metadata.labels", {"metadata": {"labels": {"a": "x" * 64}}}, "must be no more than 63 "),
    Case("configmaps", "metadata.annotations", {"metadata": {"annotations": {"a/b/c": "x"}}}, 'Invalid value: "a/b/c": a qualified name must consist of'),
    Case("configmaps", "metadata.annotations", {"metadata": {"annotations": {"a": "x" * 262145}}}, "Too long: may not be more than 262144 bytes"),
    Case("configmaps", "metadata.ownerReferences.uid", {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}]}}, "must not be empty"),
    Case("configmaps", "metadata.ownerReferences", {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in "xy"]}}, "Only one reference can have Controller set to true"),
    Case("configmaps", "metadata.finalizers[0]", {"metadata": {"finalizers": ["plain"]}}, "name is neither a standard finalizer name nor is it fully qualified"),
    change("configmaps", "immutable", "field is immutable when `immutable` is set", {"immutable": True}, {"immutable": False}),
])
