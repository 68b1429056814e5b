"""The node's own HTTP server: `streaming` serves logs, exec, attach, port-forward and pages;
`access` decides who may ask for what."""
