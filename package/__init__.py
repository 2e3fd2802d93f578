"""tokenfleet: scheduling AI agents' demand for tokens on power-capped GPU fleets.

Importing it registers the environments, so that `gymnasium.make("tokenfleet:tokenfleet/Fleet-v0")` works anywhere. The
file is installed as `tokenfleet/__init__.py`; the packages beside it are the repository's top-level folders.
"""

from importlib.metadata import version

import tokenfleet.envs  # noqa: F401  registers the environments

__version__ = version("tokenfleet")
