"""Random instances in both engines, for as long as one likes: `python -m tools.fuzz --help`."""
