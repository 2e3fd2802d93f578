"""A fit as files of a catalogue folder: whole or not at all, and never over what is there unless told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenfleet.envs.catalog import PathLike, read_yaml
from tokenfleet.envs.files import entry_text, write_whole
from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm import ModelSpec, ProfileSpec, check_profile
from tokenfleet.envs.spec import SpecError

Entry = tuple[str, dict[str, Any]]  # `<kind>/<name>.yaml`, its data
ENTRY_COMMENT = (
    "# Seconds at full clock, token_s at 1, 2, 4 ... 16384 tokens; sources names the command that fitted them."
)


def profile_entry(profile: ProfileSpec, gpu: GpuSpec, model: ModelSpec) -> Entry:
    """The entry of a profile.

    Raises:
        SpecError: the profile is not valid or beats physics.
    """
    data = profile.model_dump(mode="json", exclude_none=True)
    check_profile(ProfileSpec.parse(data, f"profile.{profile.name}"), gpu, model)
    return f"profile/{profile.name}.yaml", data


def gpu_entry(data: Mapping[str, Any], name: str) -> Entry:
    """A copy of a GPU's data under a name of one's own."""
    source = f"copy of the catalogue's {data['name']}, under a name whose profiles are one's own"
    return f"gpu/{name}.yaml", {**data, "name": name, "sources": [source, *data.get("sources", [])]}


def is_there(folder: PathLike, entry: Entry) -> bool:
    """Whether a folder already holds an entry with these very data.

    Raises:
        SpecError: it holds another one of that name.
    """
    path = Path(folder) / entry[0]
    if not path.exists():
        return False
    if read_yaml(path) != entry[1]:
        raise SpecError([f"--own-gpu: {path} is another GPU; name it with --gpu {path.stem}, or choose another name"])
    return True


def write_entries(folder: PathLike, entries: Sequence[Entry]) -> list[Path]:
    """Write entries, whole or not at all.

    Raises:
        SpecError: the folder cannot be written.
    """
    comments = {name: ENTRY_COMMENT if name.startswith("profile/") else "" for name, _ in entries}
    return write_whole({Path(folder) / name: entry_text(data, comments[name]).encode() for name, data in entries})
