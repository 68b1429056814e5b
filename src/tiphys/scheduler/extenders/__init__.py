"""Extenders: services that are asked over HTTP, after the plugins, where pods may go.

`extender` asks one, `configuration` reads them from a KubeSchedulerConfiguration, and `chain` asks
those of a profile one after the other.
"""
