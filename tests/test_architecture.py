"""Imports go down only: a package may import those on lower levels of `LEVELS`, never those beside or above it."""

from __future__ import annotations

import ast

from tests.sources import INSTALLED, modules

ENVS = "tokenfleet.envs"
LAYERS = ("power.series", "power", "facility", "gpu", "llm", "distribution", "scheduling", "agents", "ledger")
LEVELS: tuple[tuple[str, ...], ...] = (
    (f"{ENVS}.spec", f"{ENVS}.splits", f"{ENVS}.units"),
    (f"{ENVS}.commands", f"{ENVS}.fields", f"{ENVS}.files", f"{ENVS}.user_code", f"{ENVS}.quantities"),
    (f"{ENVS}.traces", f"{ENVS}.rows"),
    (f"{ENVS}.catalog",),
    *[(f"{ENVS}.layers.{layer}",) for layer in LAYERS],
    (f"{ENVS}.layers",),
    (f"{ENVS}.scenario.training", f"{ENVS}.scenario.sleep", f"{ENVS}.scenario.variants"),
    (f"{ENVS}.scenario.pools", f"{ENVS}.scenario.sites", f"{ENVS}.scenario.uncertainty", f"{ENVS}.scenario.regimes"),
    (f"{ENVS}.scenario.checks",),
    (f"{ENVS}.scenario.scenario",),
    (f"{ENVS}.scenario.loading",),
    (f"{ENVS}.scenario",),
    (f"{ENVS}.scenario.axes", f"{ENVS}.scenario.capacity", f"{ENVS}.scenario.network", f"{ENVS}.scenario.provenance"),
    (f"{ENVS}.scenario.generator",),
    (f"{ENVS}.episode.signals", f"{ENVS}.episode.warm_caches", f"{ENVS}.episode.regimes"),
    (f"{ENVS}.episode.demand",),
    (f"{ENVS}.episode.course",),
    (f"{ENVS}.episode.episode",),
    (f"{ENVS}.episode",),
    (f"{ENVS}.episode.joined_requests",),
    (f"{ENVS}.episode.history", f"{ENVS}.episode.replay", f"{ENVS}.episode.future"),
    (f"{ENVS}.episode.batch",),
    (f"{ENVS}.engine",),
    (f"{ENVS}.engine.reference", f"{ENVS}.engine.native"),
    (f"{ENVS}.estimates",),
    (f"{ENVS}.supervision",),
    (f"{ENVS}.accounts.sums", f"{ENVS}.accounts.episode_sums"),
    (f"{ENVS}.accounts.metric",),
    (f"{ENVS}.accounts.metrics",),
    (
        f"{ENVS}.interface.frame_state",
        f"{ENVS}.interface.fillings",
        f"{ENVS}.interface.infos",
        f"{ENVS}.interface.scales",
    ),
    (f"{ENVS}.interface.picture", f"{ENVS}.interface.segments"),
    (f"{ENVS}.interface.entries",),
    (f"{ENVS}.interface.control_segments",),
    (f"{ENVS}.interface.setpoint_segments",),
    (
        f"{ENVS}.interface.observation",
        f"{ENVS}.interface.action",
        f"{ENVS}.interface.setpoint_action",
        f"{ENVS}.interface.reward",
        f"{ENVS}.interface.render",
    ),
    (f"{ENVS}.interface.supervisor_observation",),
    (f"{ENVS}.interface.arguments", f"{ENVS}.interface.parts"),
    (f"{ENVS}.interface.decisions",),
    (f"{ENVS}.interface",),
    (f"{ENVS}.accounts.episode_metrics",),
    (f"{ENVS}.accounts",),
    (f"{ENVS}.fleets.indices", f"{ENVS}.fleets.snapshots", f"{ENVS}.fleets.plans", f"{ENVS}.fleets.setting"),
    (f"{ENVS}.fleets.running", f"{ENVS}.fleets.what_if"),
    (f"{ENVS}.fleets.live",),
    (f"{ENVS}.fleets.simulator",),
    (f"{ENVS}.fleets", f"{ENVS}.registration"),
    (f"{ENVS}.vector",),
    (f"{ENVS}.fleet",),
    (ENVS,),
    (f"{ENVS}.interface.document", f"{ENVS}.fitting", f"{ENVS}.demand"),
    ("tokenfleet.policies", "tokenfleet.evaluation"),
    ("tokenfleet.evaluation.bound", "tokenfleet.evaluation.screen"),
    ("tokenfleet.evaluation.contenders", "tokenfleet.evaluation.generalist"),
    ("tokenfleet.evaluation.leaderboard", "tokenfleet.evaluation.robustness"),
    ("tokenfleet.evaluation.generalist.matrix",),
    ("tokenfleet.configs",),
    ("tokenfleet.cli",),
    ("tokenfleet.train", "tokenfleet.evaluate", "tokenfleet.tune"),
    ("calibration", "calibration.excerpts"),
    ("calibration.extract", "calibration.fit.shapes", "calibration.fit.serving_runs", "calibration.fit.iterations"),
    ("calibration.fit.time", "calibration.fit.power", "calibration.fit.demand"),
    ("calibration.fit.profiles",),
    ("calibration.fit.gpus", "calibration.fit.real_time_price"),
    ("calibration.fit",),
    ("calibration.claims",),
)
FORBIDDEN = {ENVS: ("torch", "stable_baselines3", "sb3_contrib", "hydra", "omegaconf")}
OPENERS = ("catalog", "files", "interface.document", "traces")
"""What may open files inside of `tokenfleet.envs`."""
OPENS = {"open", "read_text", "read_bytes", "write_text", "write_bytes"}
MODULES = modules(outside=("calibration",))
WRONG = (
    (f"{ENVS}.layers.power", "from tokenfleet.policies.base import Policy"),
    (f"{ENVS}.layers.power", "import tokenfleet.envs.vector"),
    (f"{ENVS}.layers.power", "from tokenfleet.envs.layers.agents import StreamSpec"),
    (f"{ENVS}.engine.native", "from tokenfleet.envs.engine.reference import ReferenceEngine"),
    (f"{ENVS}.interface.observation", "from tokenfleet.envs.interface.action import FleetAction"),
    (f"{ENVS}.spec", "from tokenfleet.envs import FleetEnv"),
    ("tokenfleet.policies.base", "from tokenfleet.evaluation.episodes import evaluate_policy"),
    ("tokenfleet.evaluation.table", "def late():\n    from tokenfleet.policies import registry"),
    ("tokenfleet.train", "from envs.fleet import FleetEnv"),
    (f"{ENVS}.fitting.fit", "from calibration.fit.profiles import time_fits"),
    ("calibration.fit.power.board", "from calibration.claims.registry import CLAIMS"),
    ("calibration.fit.time.kernels", "from calibration.fit.power.clock import fit_clock"),
    (f"{ENVS}.vector", "import torch"),
    (f"{ENVS}.vector", "from .fleet import FleetEnv"),
)
"""Imports that must not be, one of every kind: the module and what it would say."""


def imports(text: str) -> set[str]:
    """Dotted names of everything that a source imports; `from a import b` counts as `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def level_of(name: str) -> tuple[int, str] | None:
    """Level and package of a dotted name: the longest entry of LEVELS that it lies in."""
    packages = [(package, height) for height, level in enumerate(LEVELS) for package in level]
    inside = [
        (len(package), height, package)
        for package, height in packages
        if name == package or name.startswith(f"{package}.")
    ]
    return max(inside)[1:] if inside else None


def complaints(module: str, text: str) -> list[str]:
    """What a module imports that it must not."""
    found = []
    mine = level_of(module)
    for name in sorted(imports(text)):
        top = name.split(".")[0]
        theirs = level_of(name)
        if name.startswith("."):
            found.append(f"{module} imports {name}; write the whole name")
        elif top in INSTALLED:
            found.append(f"{module} imports {name}; write tokenfleet.{name}")
        elif mine and theirs and mine[1] != theirs[1] and theirs[0] >= mine[0]:
            found.append(f"{module} imports {name}, which is above or beside it")
        for package, libraries in FORBIDDEN.items():
            if module.startswith(package) and top in libraries:
                found.append(f"{module} imports {top}, which {package} does without")
    return found


def opened(text: str) -> set[str]:
    """The calls of a source that open a file: of `open`, or of a method of `Path` or `gzip` that does."""
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    named = {call.id for call in calls if isinstance(call, ast.Name)} & {"open"}
    return named | {call.attr for call in calls if isinstance(call, ast.Attribute)} & OPENS


def test_these_open_files_and_no_others() -> None:
    openers = tuple(f"{ENVS}.{name}" for name in OPENERS)
    inside = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items() if name.startswith(f"{ENVS}.")}
    opening = {name for name, text in inside.items() if opened(text)}
    assert {name for name in opening if not name.startswith(openers)} == set()
    assert {opener for opener in openers if not any(name.startswith(opener) for name in opening)} == set()


def test_what_other_processes_call_stands_in_a_module_that_they_can_import() -> None:
    """A spawned process imports nothing from the `__main__` of a package."""
    mains = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items() if "__main__" in name}
    called = {
        f"{name}.{node.name}"
        for name, tree in mains.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(getattr(inner, "name", "") == "__call__" for inner in node.body)
    }
    assert mains
    assert called == set()


def test_imports_go_down() -> None:
    culprits = [complaints(module, path.read_text(encoding="utf-8")) for module, path in MODULES.items()]
    assert [culprit for found in culprits for culprit in found] == []


def test_every_module_has_a_level() -> None:
    assert [module for module in MODULES if level_of(module) is None] == []


def test_every_level_is_of_modules_that_there_are() -> None:
    assert [package for level in LEVELS for package in level if package not in MODULES] == []


def test_a_wrong_import_is_caught() -> None:
    assert [(module, text) for module, text in WRONG if len(complaints(module, text)) != 1] == []
