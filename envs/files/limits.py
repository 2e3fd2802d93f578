"""What a file may cost. A file beyond a limit is answered in one line that says which limit, and the way out.

No file, however it was made, takes more than 1 GiB of memory or five seconds of a core (docs/reliability.md has the
measurements). Nothing that people bring in earnest comes near the limits.
"""

from __future__ import annotations

MIB = 2**20

YAML_BYTES = 256 * 1024
"""The longest YAML that ships has 15 kB; PyYAML takes two seconds for a file of this size."""
YAML_NODES = 20_000
"""Keys and values, those behind an alias counted wherever it stands: a merge key copies them. The most that ships is
1,500."""
YAML_DEPTH = 32
"""Levels of nesting; a scenario has eight. Python gives up at about 200."""
INTEGER_DIGITS = 30
"""Of a whole number; Python itself refuses to write one of more than 4,300, and takes quadratic time to read it."""

JSON_BYTES = 16 * MIB
"""Of a JSON document; results of `vllm bench serve` list every request and have a few MiB."""

TABLE_BYTES = 128 * MIB
"""Of a text table after it was inflated. A request takes about 20 bytes, a Mooncake line some hundred."""
TABLE_ROWS = 1_000_000
"""Lines of a text table: four seconds. Longer recordings belong into an `.npz`, which has no such limit."""
LINE_CHARACTERS = 2**20
"""Of one line. Mooncake lists the hashes of all blocks of a prompt: 20 kB for 100,000 tokens."""
CELLS_PER_ROW = 4096
"""Of a CSV; a matrix of all cloud regions has a hundred."""
LOG_ROWS = 500_000
"""Lines of a power log, whose dates take longest to read: 8 boards every 200 ms for three hours."""
RUN_ROWS = 10_000
"""Of a table of benchmark runs, which is kept whole, every cell a text."""

ARCHIVE_BYTES = 512 * MIB
"""Of all arrays of an `.npz` together, inflated: 32 million requests."""
SESSION_BYTES = 64 * MIB
"""The same of recorded sessions, clients and series, which are worked on with several copies: a million calls."""
ARCHIVE_MEMBERS = 64
"""Arrays of an `.npz`; sessions have 14."""
ARCHIVE_DIRECTORY_BYTES = 64 * 1024
"""Of the list of an archive's members, which Python reads whole before it can count them."""

IMPORT_BYTES = 4096 * MIB
"""Of a table that a person converts once, watching: a week of a large service has 1.6 GB of text."""
IMPORT_ROWS = 32_000_000
"""Lines of it, as many as an archive holds: 16 bytes each are kept."""
IMPORT_JSON_BYTES = 128 * MIB
"""Of a benchmark's result with the time of every token, which is read whole."""
