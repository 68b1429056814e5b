"""Requests that other servers answer: aggregated API servers, nodes, pods and services,
webhooks."""
