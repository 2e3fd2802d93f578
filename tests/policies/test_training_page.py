"""The page on training says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
(PLAIN_SB3,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Sb3VecEnv" in block]


def test_the_example_on_plain_stable_baselines3_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PLAIN_SB3, "docs/training.md", "exec"), {"__name__": "example"})
    assert float(capsys.readouterr().out)
