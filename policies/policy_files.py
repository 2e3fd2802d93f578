"""Policies in YAML files: a path, or the name of one that ships.

`pretrained/<scenario>` is a policy learned on that scenario, `tuned/<scenario>/<name>` a rule with numbers tuned on it.

Such a file holds `policy`, a choice as the registry takes it, and may hold `found`: how the policy was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenfleet.envs.files import read_yaml, yaml_text
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.user_code import UserCodeError

FOLDERS = ("pretrained", "tuned")
"""Folders of the shipped files, beside this module."""
SUFFIX = ".yaml"
HERE = Path(__file__).parent
PRETRAINED = HERE / FOLDERS[0]


def tuned_name(scenario: str, rule: str) -> str:
    """Name of the file of a rule with numbers tuned on a scenario.

    >>> tuned_name("default", "operator")
    'tuned/default/operator'
    """
    return f"{FOLDERS[1]}/{scenario}/{rule}"


def is_file_choice(choice: Any) -> bool:
    """Whether a choice names a file.

    >>> is_file_choice("pretrained/default"), is_file_choice("mine/best.yaml"), is_file_choice("supervisor")
    (True, True, False)
    """
    return isinstance(choice, str) and (choice.partition("/")[0] in FOLDERS or choice.endswith(SUFFIX))


def resolved(choice: Any) -> Any:
    """The choice in the file, if `choice` names a file; else `choice` itself.

    Raises:
        SpecError: there is no such file, or it holds no policy.
    """
    return _read(_path(choice)) if is_file_choice(choice) else choice


@contextmanager
def told_under(key: str) -> Iterator[None]:
    """Report what is wrong with a choice under the key that holds the choice, such as `policy.base`.

    Raises:
        SpecError: the mistakes from inside, each behind the key; what a user's own code says is left as it is.
    """
    try:
        yield
    except UserCodeError:
        raise
    except SpecError as error:
        raise SpecError([_under(key, problem) for problem in error.problems]) from error


def _under(key: str, problem: str) -> str:
    """A message that begins with the key.

    >>> _under("policy.base", "policy.operator.gain: unknown key"), _under("policy.base", "my.yaml: no such file")
    ('policy.base.operator.gain: unknown key', 'policy.base: my.yaml: no such file')
    """
    rest = problem.removeprefix("policy")
    return key + rest if rest != problem and rest[:1] in (":", ".") else f"{key}: {problem}"


def shipped_names() -> list[str]:
    """Names of the policies that ship as files."""
    found = [path for folder in FOLDERS for path in (HERE / folder).rglob(f"*{SUFFIX}")]
    return sorted(path.relative_to(HERE).with_suffix("").as_posix() for path in found)


def write_policy(path: Path, policy: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Write the file of a policy, whole or not at all, and make its folder.

    Args:
        path: of the file.
        policy: a choice as the registry takes it.
        found: how the policy was found, as plain data.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"policy": dict(policy), "found": dict(found)}
    replace_file(path, yaml_text(data, allow_unicode=True).encode())


def _path(choice: str) -> Path:
    if choice.endswith(SUFFIX):
        return Path(choice)
    names = shipped_names()
    if choice not in names:
        raise SpecError([f"policy: unknown name {choice!r}{suggest(choice, names)}, or the path of a YAML file"])
    return HERE / f"{choice}{SUFFIX}"


def _read(path: Path) -> dict[str, Any]:
    data = read_yaml(path)
    policy = data.get("policy") if isinstance(data, Mapping) else None
    if not isinstance(policy, Mapping) or not isinstance(policy.get("name"), str):
        raise SpecError([f"{path}: holds no policy; write `policy: {{name: ..., parameters}}`, as tune.py does"])
    if is_file_choice(policy["name"]):
        raise SpecError([f"{path}: policy.name: must be a policy and no further file (got {policy['name']!r})"])
    return {str(key): value for key, value in policy.items()}
