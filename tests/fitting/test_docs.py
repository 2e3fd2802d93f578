"""The page on one's own hardware is true: its command prints what it says, and its table of runs can be read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tokenfleet.envs.fitting import read_runs
from tokenfleet.envs.fitting.__main__ import main
from tokenfleet.envs.scenario import load_scenario

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own-hardware.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for spoken, text in found if spoken == language]


def parts(text: str) -> tuple[list[str], list[float]]:
    """Its words, numbers left out, and its numbers."""
    number = r"[-+]?\d+(?:\.\d+)?(?![\w-])"
    return re.sub(number, "N", text).split(), [float(found) for found in re.findall(number, text)]


@pytest.mark.parametrize(("command", "printed"), [(0, ""), (-1, "text")], ids=["runs", "clocks"])
def test_the_command_prints_what_the_page_shows(
    command: int, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(blocks("bash")[command].replace("\\\n", ""))
    assert words[:3] == ["python", "-m", "tokenfleet.envs.fitting"]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    assert main(words[3:]) == 0
    (shown_words, shown), (words, numbers) = parts(blocks(printed)[0]), parts(capsys.readouterr().out)
    assert words == shown_words
    assert numbers == pytest.approx(shown, rel=0.1, abs=1.0), "paste the output anew"


def test_the_table_of_the_page_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(blocks("csv")[0])
    runs, notes = read_runs([path])
    assert len(runs) == 5
    assert notes == []


def test_the_board_and_the_model_of_the_page_serve_together(tmp_path: Path) -> None:
    for text in blocks("yaml"):
        file = tmp_path / "mine" / text.splitlines()[0].removeprefix("# mine/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    own = {"pools.lab-8b.gpu": "gh200", "pools.lab-8b.model": "mistral-small-24b"}
    classes = {f"classes.{name}.model": "mistral-small-24b" for name in ("chat-8b", "batch-8b")}
    pool = load_scenario("tiny", {**own, **classes}, [tmp_path / "mine"]).pools["lab-8b"]
    assert pool.profile.origin == "roofline"
    assert pool.gpu_spec.static_w < pool.gpu_spec.limit_w < pool.gpu_spec.tdp_w
    weights_s = pool.model_spec.weight_bytes / pool.gpu_spec.memory_bandwidth_bytes_per_s
    assert weights_s < pool.profile.host_s + pool.profile.token_s[0] < 1.6 * weights_s
