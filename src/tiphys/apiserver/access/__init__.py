"""Who is asking, what they may do, and how much of the server they get at a time."""
