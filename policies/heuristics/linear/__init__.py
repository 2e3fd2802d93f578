"""Set-points that follow the state: base entries, and gains times what a fleet shows."""
