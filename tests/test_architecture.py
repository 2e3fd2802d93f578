"""Imports go down only: a room may import those on lower floors of `FLOORS`, never those beside or above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENVS = "tokenfleet.envs"
LAYERS = ("series", "power", "facility", "gpu", "failures", "llm", "distribution", "scheduling", "agents", "ledger")
FLOORS: tuple[tuple[str, ...], ...] = (
    (f"{ENVS}.spec",),
    (f"{ENVS}.fields", f"{ENVS}.files", f"{ENVS}.user_code", f"{ENVS}.quantities"),
    (f"{ENVS}.traces",),
    (f"{ENVS}.catalog",),
    *[(f"{ENVS}.layers.{layer}",) for layer in LAYERS],
    (f"{ENVS}.layers",),
    (f"{ENVS}.pools",),
    (f"{ENVS}.scenario",),
    (f"{ENVS}.signals", f"{ENVS}.axes", f"{ENVS}.warm_caches", f"{ENVS}.capacity"),
    (f"{ENVS}.episode",),
    (f"{ENVS}.engine",),
    (f"{ENVS}.engine.reference", f"{ENVS}.engine.native"),
    (f"{ENVS}.frame_state",),
    (f"{ENVS}.picture",),
    (
        f"{ENVS}.observation",
        f"{ENVS}.segments",
        f"{ENVS}.reward",
        f"{ENVS}.render",
        f"{ENVS}.registration",
        f"{ENVS}.history",
        f"{ENVS}.infos",
        f"{ENVS}.accounts",
    ),
    (f"{ENVS}.knobs", f"{ENVS}.metrics"),
    (f"{ENVS}.action",),
    (f"{ENVS}.episode_metrics", f"{ENVS}.arguments", f"{ENVS}.episodes", f"{ENVS}.parts"),
    (f"{ENVS}.vector",),
    (f"{ENVS}.fleet",),
    (ENVS,),
    (f"{ENVS}.document", f"{ENVS}.fitting"),
    ("tokenfleet.policies", "tokenfleet.evaluation"),
    ("tokenfleet.configs",),
    ("tokenfleet.train", "tokenfleet.evaluate"),
    ("calibration", "calibration.excerpts"),
    ("calibration.extract", "calibration.fit.shapes", "calibration.fit.serving_runs", "calibration.fit.iterations"),
    ("calibration.fit.time", "calibration.fit.power", "calibration.fit.demand"),
    ("calibration.fit.profiles",),
    ("calibration.fit.gpus", "calibration.fit.real_time_price"),
    ("calibration.fit",),
    ("calibration.claims",),
)
FORBIDDEN = {ENVS: ("torch", "stable_baselines3", "sb3_contrib", "hydra", "omegaconf")}
BARE = ("envs", "policies", "evaluation", "configs")
OUTSIDE = ("calibration",)  # rooms of the repository that are not installed


def sources() -> list[tuple[str, Path]]:
    """Every module of the product and of calibration, by its dotted name."""
    files = [path for room in (*BARE, *OUTSIDE) for path in sorted((ROOT / room).rglob("*.py"))]
    files += [ROOT / "train.py", ROOT / "evaluate.py"]
    return [(module_name(path), path) for path in files]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] in OUTSIDE else ("tokenfleet", *parts)
    return ".".join(inside).removesuffix(".__init__")


def imports(text: str) -> set[str]:
    """Dotted names of everything that a source imports; `from a import b` counts as `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import; write the whole name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor_of(name: str) -> tuple[int, str] | None:
    """Floor and room of a dotted name: the longest entry of FLOORS that it lies in."""
    rooms = [(room, height) for height, floor in enumerate(FLOORS) for room in floor]
    inside = [(len(room), height, room) for room, height in rooms if name == room or name.startswith(f"{room}.")]
    return max(inside)[1:] if inside else None


def complaints(module: str, text: str) -> list[str]:
    """What a module imports that it must not."""
    found = []
    mine = floor_of(module)
    for name in sorted(imports(text)):
        top = name.split(".")[0]
        theirs = floor_of(name)
        if top in BARE:
            found.append(f"{module} imports {name}; write tokenfleet.{name}")
        elif mine and theirs and mine[1] != theirs[1] and theirs[0] >= mine[0]:
            found.append(f"{module} imports {name}, which stands above or beside it")
        for room, libraries in FORBIDDEN.items():
            if module.startswith(room) and top in libraries:
                found.append(f"{module} imports {top}, which {room} does without")
    return found


@pytest.mark.parametrize(("module", "path"), sources(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_go_down(module: str, path: Path) -> None:
    assert complaints(module, path.read_text(encoding="utf-8")) == []


def test_every_module_stands_on_a_floor() -> None:
    assert [module for module, _ in sources() if floor_of(module) is None] == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (f"{ENVS}.layers.power", "from tokenfleet.policies.base import Policy"),
        (f"{ENVS}.layers.power", "import tokenfleet.envs.vector"),
        (f"{ENVS}.layers.power", "from tokenfleet.envs.layers.agents import StreamSpec"),
        (f"{ENVS}.engine.native", "from tokenfleet.envs.engine.reference import ReferenceEngine"),
        (f"{ENVS}.observation", "from tokenfleet.envs.action import FleetAction"),
        (f"{ENVS}.spec", "from tokenfleet.envs import FleetEnv"),
        ("tokenfleet.policies.base", "from tokenfleet.evaluation.episodes import evaluate_policy"),
        ("tokenfleet.evaluation.table", "def late():\n    from tokenfleet.policies import registry"),
        ("tokenfleet.train", "from envs.fleet import FleetEnv"),
        (f"{ENVS}.fitting.fit", "from calibration.fit.profiles import time_fits"),
        ("calibration.fit.power.board", "from calibration.claims.registry import CLAIMS"),
        ("calibration.fit.time.kernels", "from calibration.fit.power.clock import fit_clock"),
        (f"{ENVS}.vector", "import torch"),
    ],
)
def test_a_bad_import_is_caught(module: str, text: str) -> None:
    assert len(complaints(module, text)) == 1
