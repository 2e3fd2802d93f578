"""Where a run comes from: versions, hardware, source and configuration, in `manifest.json`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from tokenfleet.configs.entry import EntryConfig
from tokenfleet.envs.files.digest import json_digest
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.packages import LEARNING_PACKAGES, versions_of

MANIFEST_FILE = "manifest.json"
PACKAGES = (*LEARNING_PACKAGES, "gymnasium", "numpy", "safetensors", "pydantic")


def describe(config: EntryConfig) -> dict[str, Any]:
    """What a run depends on beside its configuration."""
    return {
        "config_sha256": config_hash(config),
        "seed": config.seed,
        "git_commit": _git_commit(),
        "versions": {"python": platform.python_version(), **versions_of(PACKAGES)},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        "command": [Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]],
    }


def config_hash(config: EntryConfig) -> str:
    """SHA-256 of the configuration, as it is kept, as JSON with sorted keys."""
    return json_digest(config.kept())


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `manifest.json`, whole or not at all, and to the disk."""
    replace_file(folder / MANIFEST_FILE, (json.dumps(manifest, indent=2) + "\n").encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `manifest.json` says; empty where there is none.

    Raises:
        SpecError: the file is damaged.
    """
    file = folder / MANIFEST_FILE
    if not file.exists():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise SpecError([f"{file}: is damaged; delete it to go on without the record of earlier starts"]) from None


def _git_commit() -> str | None:
    """Commit of the checkout that this package runs from, with `-dirty` for changes; None outside a checkout."""
    here = Path(__file__).resolve().parent
    ours = ["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name]
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        tracked = subprocess.run(ours, capture_output=True, timeout=10)
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 and tracked.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
