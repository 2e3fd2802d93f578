"""Layer 3: the watts of a board, from serving runs, clocks and power limits."""
