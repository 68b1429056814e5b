"""Requests to other servers: aggregated API servers, nodes, pods and services,
webhooks."""
