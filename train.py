"""Train a policy: compose, check, build, run, save. `python train.py --help` says what can be set."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from tokenfleet.configs import entry


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def compose(composed: DictConfig) -> float:
    """Run one job of Hydra."""
    config = entry.checked(composed)
    print(config.model_dump())
    print(entry.output_folder())
    return 0.0


def main() -> None:
    """Entry point of `tokenfleet-train`."""
    entry.run(compose)


if __name__ == "__main__":
    main()
