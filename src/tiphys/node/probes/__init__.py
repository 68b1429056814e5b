"""Probes and lifecycle hooks: `handlers` carries one out, `prober` repeats it and counts its
results against the thresholds, `probemanager` has those of a pod."""
