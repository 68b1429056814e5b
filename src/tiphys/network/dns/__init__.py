"""Cluster DNS: `message` codes packets, `zone` turns services into records, `server` answers and forwards."""
