"""Pods: their rules are those of every pod template (`podspec`), and what is here."""
