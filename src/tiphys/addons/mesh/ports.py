"""The numbers that every sidecar has in common. They are Istio's, whose users know them."""

from __future__ import annotations

USER = 1337
"""As whom Envoy runs: what this user sends is not redirected."""
OUTBOUND = 15001
INBOUND = 15006
METRICS = 15020
PROBES = 15021

RESERVED = (OUTBOUND, INBOUND, METRICS, PROBES)
"""Ports that no traffic of the pod is for: passed on, it would go in circles."""
