"""Volumes of CSI drivers on this node.

A driver announces itself by a socket (`plugins`); `drivers` keeps those that are registered and
`nodeinfo` shows them in the CSINode object. `source` says what a volume asks of its driver,
`requests` puts the calls together, both pure; `credentials` has secrets and tokens. `mounting`
stages and publishes volumes for pods and takes them back; what pods have and wait for is in
`holdings`, and on disk (`records`) for an agent that comes after this one. `expansion` notifies
drivers of larger volumes, `stats` asks them how full theirs are.

Imports `plugins` and `volumes`; these reach it by the protocol `drivervolumes.DriverVolumes`.
"""
