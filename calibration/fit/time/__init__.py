"""Layer 4: the seconds of an iteration, from kernels and from serving runs."""
