"""What a human supervisor sets, and the loops that hold it: set-points become controls at every tick."""
