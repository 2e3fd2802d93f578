"""Throughput of the engine and of training, each as a ratio to a yardstick measured in the same run."""
