"""What stands behind an APIService in tests."""

from __future__ import annotations

META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


SWAGGER = {
    "swagger": "2.0",
    "paths": {
        "/apis/wardle.example.com/v1/flunders": {
            "get": {"schema": {"$ref": "#/definitions/com.example.Flunder"}}
        },
        "/apis/elsewhere/v1/things": {
            "get": {"schema": {"$ref": "#/definitions/com.example.Thing"}}
        },
    },
    "definitions": {
        "com.example.Flunder": {"properties": {"metadata": {"$ref": f"#/definitions/{META}"}}},
        "com.example.Thing": {"type": "object"},
        META: {"description": "another one of the same name"},
    },
}
