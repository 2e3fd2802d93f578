"""The matrix of contenders: resumable, complete, and a page that says what was declared."""

import json
import re
from pathlib import Path

import pytest

import tokenfleet.envs.catalog
from tokenfleet.envs.fields import VIEW
from tokenfleet.envs.files.markdown import with_part
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.contenders.__main__ import main
from tokenfleet.evaluation.contenders.matrix import ResultMatrix
from tokenfleet.evaluation.contenders.page import DECLARED, TABLES, declared, preset_paragraph
from tokenfleet.evaluation.contenders.results import best_known_section, numbers_tuned
from tokenfleet.evaluation.contenders.searched import BEST_KNOWN, best_known, tuned_rules
from tokenfleet.evaluation.contenders.sees import SIGHTS, knows_caps, reads
from tokenfleet.policies import POLICIES

PAGE = Path(__file__).parents[2] / "docs" / "controllers.md"
TINY = Path(tokenfleet.envs.catalog.__file__).parent / "scenario" / "tiny.yaml"
EVIDENCE = re.compile(r"\[code\]|\[text\]|\[mem\]|\(ours|: (see|as of) `|likewise")
"""How sure a number is, by a mark, or another rule that says so."""
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


def test_a_scenario_that_has_changed_is_measured_again(tmp_path):
    out, file = tmp_path / "out.json", tmp_path / "tiny.yaml"
    arguments = ["--scenario", str(file), "--episodes", "2", "--policy", "middle", "--out", str(out)]
    file.write_text(TINY.read_text())
    assert main(arguments) == 0
    file.write_text(TINY.read_text().replace("horizon_ticks: 60", "horizon_ticks: 50"))
    assert main(arguments) == 0
    cells = [name for name in json.loads(out.read_text())["measured"] if name.endswith("/middle")]
    assert len([name for name in cells if name.startswith("tiny@")]) == 2


def searched_in_default(best_usd: list[float]) -> ResultMatrix:
    """Two policies, the tuned supervisor and the best known in two episodes of `default`."""
    usd = {"middle": [1.0, 2.0], "supervisor": [2.0, 4.0], "tuned/default/constants": [3.0, 6.0], BEST_KNOWN: best_usd}
    default = load_scenario("default")
    return ResultMatrix(
        scenarios=("default",),
        policies=("middle", "supervisor"),
        searched=(*tuned_rules(default), *best_known(default)),
        usd={(name, "default"): values for name, values in usd.items()},
        above_cap_s={(name, "default"): 5.0 for name in usd},
        decision_ms={"middle": 0.1, "supervisor": 0.2},
        episodes=2,
        seed=0,
    )


def test_tuned_numbers_stand_beside_the_own_ones_of_the_rule():
    row = next(line for line in numbers_tuned(searched_in_default([9.0, 9.0])).splitlines() if "tuned/default" in line)
    assert "3.00 (`supervisor`) | 4.50 | +1.50 [+1.00, +2.00]" in row


def test_the_best_known_is_compared_with_the_best_of_all_others():
    ahead, behind = (best_known_section(searched_in_default(usd)) for usd in ([9.0, 9.0], [1.0, 1.0]))
    assert "9.00 | 4.50 (`tuned/default/constants`) | +4.50 [+3.00, +6.00]" in ahead
    assert "Nowhere is it behind" in ahead
    assert "it is behind on `default`" in behind


def test_a_share_of_the_best_has_the_interval_of_their_paired_difference():
    matrix = searched_in_default([9.0, 9.0])
    assert matrix.percent("middle", "default") == 50.0
    assert matrix.half_width_percent("middle", "default") == pytest.approx(50.0 * (2.0 - 1.0) / 3.0)
    assert matrix.half_width_percent("supervisor", "default") == 0.0


def test_the_best_known_of_another_scenario_is_not_compared():
    changed = load_scenario("default").model_copy(update={"horizon_ticks": 60})
    assert best_known(changed) == []


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


@pytest.mark.parametrize("kind", TABLES)
def test_every_number_of_a_law_of_others_says_how_sure_it_is(kind):
    for name, preset in TABLES[kind].items():
        if "published" in preset.target or "classical" in preset.target:
            numbers = [line for line in preset_paragraph(name, preset).splitlines() if line.startswith("- `")]
            assert [line for line in numbers if not EVIDENCE.search(line)] == []


def test_the_page_in_the_docs_names_every_policy_and_every_part_rule():
    """Else run `make contenders`."""
    page = PAGE.read_text(encoding="utf-8")
    names = [*POLICIES, *(name for table in TABLES.values() for name in table)]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_page_in_the_docs_has_what_policies_say_of_themselves():
    """Else run `python tools/declared_policies.py docs/controllers.md`."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_part(page, DECLARED, declared()) == page
