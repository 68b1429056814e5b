"""Pods that a node runs because a file says so, whether the API server is there or not.

`manifests` reads a file to a pod, `folder` looks for files that have changed, `staticpods` starts
and ends the pods and keeps an object of each in the API server, its mirror.
"""
