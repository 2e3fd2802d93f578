"""What is written as YAML is read back as it was."""

from pathlib import Path

import pytest

from tokenfleet.envs.files import read_yaml, yaml_text


@pytest.mark.parametrize("value", ["566e053a4fef", "566e0534", "1e5", "12", "1_0e3", 1e-05, 1e22, 12, "no", None, True])
def test_text_that_looks_like_a_number_stays_text_and_numbers_stay_numbers(value: object, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(yaml_text({"value": value}))
    found = read_yaml(path)["value"]
    assert (found, type(found)) == (value, type(value))


def test_a_hash_that_begins_like_a_number_is_text(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("config_hash: 566e053a4fef\n")
    assert read_yaml(path) == {"config_hash": "566e053a4fef"}
