"""Files that people bring, read within limits: every mistake or attack in one is a `SpecError` that names the place.

A file is data that nobody has checked: cut off, mistyped, or made to take the machine down. Every reader of the project
goes through this package, so that what a file may cost is decided once, in `limits`.

| module | subject |
|---|---|
| `limits` | what a file may cost, and why |
| `opening` | the bytes of a file, inflated or not, up to a limit |
| `yaml_file` | YAML to plain data, and back |
| `lines` | lines of text and cells of CSV |
| `archives` | arrays of numbers in `.npz` |
| `writing` | files that are written whole or not at all |
| `markdown` | tables of the pages that commands write |
| `digest` | identity of plain data |
| `entries` | entries of the catalogue that commands write, all or none |
"""

from __future__ import annotations

from tokenfleet.envs.files.archives import read_arrays
from tokenfleet.envs.files.entries import check_free, entry_text, write_whole
from tokenfleet.envs.files.lines import CsvTable, csv_rows, csv_table, text_lines
from tokenfleet.envs.files.opening import PathLike, Version, read_text, version_of
from tokenfleet.envs.files.yaml_file import check_yaml, read_yaml, yaml_text

__all__ = [
    "CsvTable",
    "PathLike",
    "Version",
    "check_free",
    "check_yaml",
    "csv_rows",
    "csv_table",
    "entry_text",
    "read_arrays",
    "read_text",
    "read_yaml",
    "text_lines",
    "version_of",
    "write_whole",
    "yaml_text",
]
