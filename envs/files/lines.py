"""Lines of text and cells of CSV, inflated if need be, up to the limits on tables."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tokenfleet.envs.files.limits import CELLS_PER_ROW, LINE_CHARACTERS, TABLE_BYTES, TABLE_ROWS
from tokenfleet.envs.files.opening import PathLike, open_bytes, readable, version_of
from tokenfleet.envs.spec import SpecError, counted

EMPTY: tuple[list[str], ...] = ([], [""])
"""Cells of a line without text."""
OTHER_SIGNS = {";": "semicolons", "\t": "tabs"}
"""What parts the columns of tables that are no CSV."""


def text_lines(
    path: PathLike, limit_rows: int = TABLE_ROWS, more: str = "", limit_bytes: int = TABLE_BYTES
) -> Iterator[str]:
    """The lines of a text table, each with its end; UTF-8 with or without a byte-order mark.

    Args:
        path: the file; inflated where its name ends in `.gz`.
        limit_rows: the most lines that it may have.
        more: what to do with a longer table, for the message.
        limit_bytes: the most that it may hold, inflated.

    Raises:
        SpecError: the file cannot be read, is not UTF-8, or is longer than the limits allow.
    """
    path = Path(path)
    version_of(path)
    with readable(path), open_bytes(path, limit_bytes) as file:
        number = 0
        while line := file.readline(LINE_CHARACTERS + 1):
            number += 1
            if len(line) > LINE_CHARACTERS:
                raise SpecError([f"{path}:{number}: a line of more than {LINE_CHARACTERS} bytes; is it a table?"])
            if number > limit_rows:
                raise SpecError([f"{path}: more than {limit_rows} lines; {more or 'give a shorter table'}"])
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")


def csv_rows(
    path: PathLike, limit_rows: int = TABLE_ROWS, more: str = "", limit_bytes: int = TABLE_BYTES
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV: the number of the line that each ends on, and its cells, without spaces around them.

    Args:
        path: see `text_lines`.
        limit_rows: likewise.
        more: likewise.
        limit_bytes: likewise.

    Raises:
        SpecError: see `text_lines`; or a cell is too long, or not closed.
    """
    reader = csv.reader(text_lines(path, limit_rows, more, limit_bytes), skipinitialspace=True)
    try:
        for cells in reader:
            if len(cells) > CELLS_PER_ROW:
                raise SpecError([f"{path}:{reader.line_num}: more than {CELLS_PER_ROW} cells; is it a table?"])
            yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise SpecError([f"{path}:{reader.line_num}: not CSV: {error}"]) from None


class CsvTable(NamedTuple):
    """A CSV with names of columns: its header, empty where the file is, and the line and cells of every row."""

    header: list[str]
    rows: Iterator[tuple[int, list[str]]]


def csv_table(path: PathLike, limit_rows: int = TABLE_ROWS, more: str = "", limit_bytes: int = TABLE_BYTES) -> CsvTable:
    """A CSV with names of columns; lines without text are left out, and every row has a cell for each column.

    Args:
        path: see `text_lines`.
        limit_rows: likewise.
        more: likewise.
        limit_bytes: likewise.

    Raises:
        SpecError: see `csv_rows`; or a row, as it is read, has more or fewer cells than the header.
    """
    lines = csv_rows(path, limit_rows, more, limit_bytes)
    number, header = next((row for row in lines if row[1] not in EMPTY), (1, []))
    if len(header) == 1 and any(sign in header[0] for sign in OTHER_SIGNS):
        sign = next(name for sign, name in OTHER_SIGNS.items() if sign in header[0])
        raise SpecError([f"{path}:{number}: {sign} part its columns; write commas there, and points in decimals"])

    def rows() -> Iterator[tuple[int, list[str]]]:
        for line, cells in lines:
            if cells in EMPTY:
                continue
            if len(cells) != len(header):
                raise SpecError([f"{path}:{line}: {counted(len(cells), 'value')} for {counted(len(header), 'column')}"])
            yield line, cells

    return CsvTable(header, rows())
