"""What concerns one container: its environment, its logs, what the node remembers of it
(`records`), and when it is restarted (`restartpolicy`, `backoff`, `waiting`).
"""
