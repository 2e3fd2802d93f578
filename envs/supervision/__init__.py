"""Set-points of a human supervisor, and the loops that hold them: set-points become controls at every tick."""
