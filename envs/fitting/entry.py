"""A fit as files of a catalogue folder: whole or not at all, and never over what is there unless told to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tokenfleet.envs.catalog import PathLike, read_yaml
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


def check_free(folder: PathLike, entry_path: str, force: bool) -> None:
    """Refuse to overwrite.

    Raises:
        SpecError: the file is there, and nobody said --force.
    """
    path = Path(folder) / entry_path
    if path.exists() and not force:
        raise SpecError([f"--out: {path} is already there; choose another folder, or overwrite it with --force"])


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
    root = Path(folder)
    made = [path for path in _folders(root, entries) if not path.exists()]
    drafts = {root / name: root / f"{name}.part" for name, _ in entries}
    try:
        for (name, data), draft in zip(entries, drafts.values(), strict=True):
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(_yaml(data, ENTRY_COMMENT if name.startswith("profile/") else ""), encoding="utf-8")
        for path, draft in drafts.items():
            os.replace(draft, path)
    except OSError as error:
        _take_back(drafts.values(), made)
        raise SpecError(
            [f"--out: cannot write {error.filename or root} ({error.strerror}); choose another folder"]
        ) from None
    return list(drafts)


def _folders(root: Path, entries: Sequence[Entry]) -> list[Path]:
    """Every folder that the entries need, the innermost first."""
    needed = [root, *root.parents, *((root / name).parent for name, _ in entries)]
    return sorted(dict.fromkeys(needed), key=lambda path: -len(path.parts))


def _take_back(drafts: Any, made: Sequence[Path]) -> None:
    for draft in drafts:
        with contextlib.suppress(OSError):
            draft.unlink()
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _yaml(data: Mapping[str, Any], comment: str) -> str:
    """One key a line as the shipped entries have it, its sources below each other."""
    lines = [comment] if comment else []
    for key, value in data.items():
        if key == "sources":
            lines += [f"{key}:", *(f"  - {_flow(str(source), quoted=True)}" for source in value)]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any, quoted: bool = False) -> str:
    style = '"' if quoted else None
    text: str = yaml.safe_dump(
        value, default_flow_style=True, width=10**9, allow_unicode=True, default_style=style, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
