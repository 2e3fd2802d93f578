"""The matrix of contenders: resumable, complete, and a page that says what was declared."""

import json
from pathlib import Path

import pytest

from tokenfleet.envs.fields import VIEW
from tokenfleet.evaluation.contenders.__main__ import main
from tokenfleet.evaluation.contenders.page import TABLES
from tokenfleet.evaluation.contenders.sees import SIGHTS, knows_caps, reads
from tokenfleet.policies import POLICIES

PAGE = Path(__file__).parents[2] / "docs" / "controllers.md"
FEW = ["--scenario", "tiny", "--episodes", "2"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contenders")
    out = folder / "out.json"
    arguments = [*FEW, "--policy", "middle", "--policy", "max_clock", "--policy", "voltana_capped", "--out", str(out)]
    (folder / "images").mkdir()
    assert main([*arguments, "--docs", str(folder)]) == 0
    return folder, arguments


def test_the_page_and_the_figure_are_written(measured):
    folder, _ = measured
    page = (folder / "controllers.md").read_text(encoding="utf-8")
    assert "| `voltana_capped` |" in page
    assert (folder / "images" / "controllers.png").stat().st_size > 10_000


def test_what_is_on_file_is_not_measured_again(measured):
    folder, arguments = measured
    before = json.loads((folder / "out.json").read_text())["measured"]
    assert main(arguments) == 0
    assert json.loads((folder / "out.json").read_text())["measured"] == before


def test_an_unknown_policy_is_named(capsys):
    assert main([*FEW, "--policy", "fastest"]) == 2
    assert "--policy: 'fastest' is no shipped policy" in capsys.readouterr().err


def test_every_field_of_a_view_has_a_name_for_readers():
    assert sorted(field for members in SIGHTS.values() for field in members) == sorted({field.name for field in VIEW})


def test_a_law_that_ignores_caps_sees_none_until_it_is_capped():
    for name in POLICIES:
        if name.endswith("_capped"):
            assert not knows_caps(reads(name.removesuffix("_capped"))) or name == "dynamo_planner_capped"
            assert knows_caps(reads(name))


def test_the_page_in_the_docs_names_every_policy_and_every_rule():
    """Else run `make contenders`."""
    page = PAGE.read_text(encoding="utf-8")
    names = [*POLICIES, *(name for table in TABLES.values() for name in table)]
    assert [name for name in names if f"`{name}`" not in page] == []
