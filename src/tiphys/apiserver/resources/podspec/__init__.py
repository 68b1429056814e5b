"""The spec of a pod, as pods and every template of pods have it: its defaults, rules and
warnings.
"""
