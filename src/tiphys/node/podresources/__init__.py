"""What monitoring agents ask a node: which devices, cores and memory its containers have
(upstream's pod resources API, `pod-resources/kubelet.sock`).

`listing` makes the answers, `server` serves them on the socket in the node's kubelet folder.
"""
