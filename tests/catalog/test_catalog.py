"""Finding entries by name, and what a mistake in a YAML file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tokenfleet.envs.catalog import KINDS, SHIPPED, catalog_names, find, load_entry, load_series, load_trace, read_yaml
from tokenfleet.envs.spec import SpecError


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_entry_is_found_under_its_name(kind):
    names = catalog_names(kind)
    assert names
    for name in names:
        assert find(kind, name).is_file()


@pytest.mark.parametrize("kind", ["gpu", "model", "profile"])
def test_every_shipped_entry_carries_its_name_and_sources(kind):
    names = catalog_names(kind)
    assert names
    for name in names:
        entry = load_entry(kind, name)
        assert entry["name"] == name
        assert entry["sources"]


def test_a_users_folder_adds_entries(tmp_path: Path):
    (tmp_path / "scenario").mkdir()
    (tmp_path / "scenario" / "mine.yaml").write_text("seed: 1\n")
    assert "mine" in catalog_names("scenario", [tmp_path])
    assert find("scenario", "mine", [tmp_path]) == (tmp_path / "scenario" / "mine.yaml").resolve()
    assert load_entry("scenario", "mine", [str(tmp_path)]) == {"seed": 1, "name": "mine"}


def test_an_entry_cannot_silently_replace_a_shipped_one(tmp_path: Path):
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "h100-sxm.yaml").write_text("name: h100-sxm\n")
    with pytest.raises(SpecError, match=r"'h100-sxm' is defined twice, .* give yours a name of its own"):
        find("gpu", "h100-sxm", [tmp_path])


def test_the_shipped_folder_given_again_changes_nothing():
    assert find("gpu", "h100-sxm", [SHIPPED]) == find("gpu", "h100-sxm")


def test_a_name_that_disagrees_with_its_file_is_refused(tmp_path: Path):
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "mine.yaml").write_text("name: yours\n")
    with pytest.raises(SpecError, match=r"gpu.mine.name: must equal the file's name 'mine' \(got 'yours'\)"):
        load_entry("gpu", "mine", [tmp_path])


@pytest.mark.parametrize(("kind", "name", "message"), [
    ("gpu", "h100", "unknown name 'h100'; did you mean 'h100-sxm'"),
    ("gpu", "../model/llama-3.1-8b", "a name of letters, digits"),
    ("gpu", "", "a name of letters, digits"),
    ("gpu", None, "a name of letters, digits"),
    ("gpus", "h100-sxm", "unknown kind 'gpus'; did you mean 'gpu'"),
])  # fmt: skip
def test_a_wrong_name_is_answered(kind, name, message):
    with pytest.raises(SpecError, match=message):
        find(kind, name)


def test_a_missing_search_path_is_named(tmp_path: Path):
    with pytest.raises(SpecError, match=r"no such folder .*nowhere"):
        find("gpu", "h100-sxm", [tmp_path / "nowhere"])


def test_one_path_in_place_of_a_list_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="must be a list of folders"):
        find("gpu", "h100-sxm", str(tmp_path))


@pytest.mark.parametrize(("text", "message"), [
    ("a: 1\nb: [1, 2\nc: 3\n", r"bad\.yaml:3: not valid YAML"),
    ("a: 1\na: 2\n", r"bad\.yaml:2: not valid YAML: key 'a' is given twice"),
    ("- 1\n- 2\n", r"bad\.yaml: must hold a mapping of keys to values \(got list\)"),
    ("", r"bad\.yaml: must hold a mapping of keys to values \(got NoneType\)"),
    ("a: !!python/object/apply:os.getcwd []\n", r"bad\.yaml:1: not valid YAML"),
    ("\tb: 1\n", r"bad\.yaml:1: not valid YAML"),
    ("? [1, 2]\n: 3\n", r"bad\.yaml:1: not valid YAML"),
    ("a: \x00\n", r"bad\.yaml: not valid YAML"),
])  # fmt: skip
def test_bad_yaml_names_the_file_and_the_line(text, message, tmp_path: Path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        read_yaml(path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    with pytest.raises(SpecError, match=r"none\.yaml: no such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(SpecError, match=r"latin\.yaml: not UTF-8 text"):
        read_yaml(tmp_path / "latin.yaml")


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path):
    path = tmp_path / "numbers.yaml"
    path.write_text("a: 1e-5\nb: 2.5e9\nc: -3E+2\nd: 1.0\ne: 12\nf: e5\n")
    assert read_yaml(path) == {"a": 1e-5, "b": 2.5e9, "c": -300.0, "d": 1.0, "e": 12, "f": "e5"}


def test_a_merge_key_still_works(tmp_path: Path):
    path = tmp_path / "merge.yaml"
    path.write_text("base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\n")
    assert read_yaml(path)["more"] == {"a": 1, "b": 3}


def test_a_caller_may_change_what_it_got_and_an_edited_file_is_read_again(tmp_path: Path):
    path = tmp_path / "entry.yaml"
    path.write_text("a: [1]\n")
    read_yaml(path)["a"].append(2)
    assert read_yaml(path) == {"a": [1]}
    path.write_text("a: [1, 2, 3]\n")
    assert read_yaml(path) == {"a": [1, 2, 3]}


def test_a_trace_is_loaded_by_name_or_by_path(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n1,10,20\n")
    assert len(load_trace(str(path))) == len(load_trace(path)) == 1
    (tmp_path / "trace").mkdir()
    path.rename(tmp_path / "trace" / "mine.csv")
    assert load_trace("mine", [tmp_path]).name == "mine"
    with pytest.raises(SpecError, match="unknown name 'azure-chat'; did you mean 'azure-chat-2023'"):
        load_trace("azure-chat")


def write_series(folder: Path, rows: list[str], header: str = "hour,price_usd_per_mwh") -> None:
    (folder / "series").mkdir(exist_ok=True)
    (folder / "series" / "mine.yaml").write_text(
        "file: mine.csv\ncolumns:\n  price_usd_per_mwh: {meaning: my tariff, first_h: 0}\n"
    )
    (folder / "series" / "mine.csv").write_text("\n".join([header, *rows]) + "\n")


def test_a_users_year_of_hours_is_loaded_by_name(tmp_path: Path):
    write_series(tmp_path, [f"{hour},{hour % 24}" for hour in range(8760)])
    series = load_series("mine", [tmp_path])
    assert series.at("price_usd_per_mwh", np.array([0.0, 1.5, 23.5])).tolist() == [0.0, 1.5, 11.5]


@pytest.mark.parametrize(("rows", "header", "message"), [
    (["0,1"] * 8759, "hour,price_usd_per_mwh", r"mine\.csv: column .* must hold the 8760 hours of a year"),
    (["0,1"] * 8, "hour,price_usd_mwh", r"is missing; did you mean 'price_usd_mwh'"),
    (["0,1", "0,dear"], "hour,price_usd_per_mwh", r"mine\.csv:3: price_usd_per_mwh: not a number \(got 'dear'\)"),
    (["0,1"] * 8759 + ["0,nan"], "hour,price_usd_per_mwh", r"has no number for hour 8759"),
])  # fmt: skip
def test_a_year_that_cannot_be_used_is_named(rows, header, message, tmp_path: Path):
    write_series(tmp_path, rows, header)
    with pytest.raises(SpecError, match=message):
        load_series("mine", [tmp_path])


def test_a_series_whose_table_is_missing_is_named(tmp_path: Path):
    write_series(tmp_path, [])
    (tmp_path / "series" / "mine.csv").unlink()
    with pytest.raises(SpecError, match=r"mine\.csv: no such file; series 'mine' names it"):
        load_series("mine", [tmp_path])
