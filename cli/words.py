"""What was typed, as Hydra takes it: keys of the schema need no `+`, and `algo=module:Class` is a file and a value."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence

from tokenfleet.cli.resolvers import options
from tokenfleet.configs.entry import EntryConfig
from tokenfleet.envs.spec import SpecError

_DOTTED = re.compile(r"(?!hydra\.)[A-Za-z_][\w-]*(\.[\w-]+)+=.*", re.DOTALL)
_TOP_LEVEL = re.compile(r"(?P<key>[A-Za-z_]\w*)=.*", re.DOTALL)
_OWN_ALGORITHM = re.compile(r"algo=(?P<path>[A-Za-z_][\w.]*:\w+)")
_GROUPS_ALONE = ("hydra", "experiment")
"""Choices of files that are no keys of the schema themselves."""
_TAKES_A_VALUE = (
    *("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"),
    *("--package", "-p", "--cfg", "-c", "--experimental-rerun"),
)
"""Hydra's options that the next word belongs to."""
_NO_NAME = re.compile(r"(scenario|algo|env|tracking)=(|null|true|false|[-+.\d]+|[^{,]*/.*)", re.IGNORECASE)


@contextlib.contextmanager
def hydras_words(config_type: type[EntryConfig]) -> Iterator[None]:
    """Let Hydra read the command line as the schema means it.

    Hydra's decorator reads `sys.argv` and offers no other way to hand it words, so they stand there meanwhile.

    Raises:
        SpecError: see `check_choices`.
    """
    typed = sys.argv
    words = [word for argument in _keys_last(typed[1:]) for word in _words(argument, config_type)]
    check_choices(words)
    sys.argv = [typed[0], *words]
    try:
        yield
    finally:
        sys.argv = typed


def _keys_last(typed: Sequence[str]) -> list[str]:
    """The words with all keys behind Hydra's options: its parser refuses keys on both sides of an option.

    >>> _keys_last(["scenario=my", "--config-dir", "mine", "-m", "seed=0,1"])
    ['--config-dir', 'mine', '-m', 'scenario=my', 'seed=0,1']
    """
    options: list[str] = []
    keys: list[str] = []
    before = ""
    for word in typed:
        is_key = word.startswith("~") or ("=" in word and not word.startswith("-"))
        (keys if is_key and before not in _TAKES_A_VALUE else options).append(word)
        before = word
    return [*options, *keys]


def check_choices(words: Sequence[str]) -> None:
    """Refuse paths, and words such as `scenario=null`: Hydra's message does not name the word.

    Raises:
        SpecError: with the names to choose from.
    """
    refused = [match.groups() for match in map(_NO_NAME.fullmatch, words) if match]
    if refused:
        own = "for your own FOLDER/{0}/NAME.yaml write --config-dir FOLDER {0}=NAME"
        raise SpecError(
            [f"{key}: {name!r} is no name (choose from {options(key)}; {own.format(key)})" for key, name in refused]
        )


def _words(word: str, config_type: type[EntryConfig]) -> list[str]:
    """A word as Hydra takes it.

    A key that no YAML holds is passed on with `++`: the schema decides what exists, and reports the key with all other
    mistakes.
    """
    own = _OWN_ALGORITHM.fullmatch(word)
    if own is not None:
        return ["algo=custom", f"++algo.model={own['path']}"]
    top_level = _TOP_LEVEL.fullmatch(word)
    is_unknown = top_level is not None and top_level["key"] not in {*config_type.model_fields, *_GROUPS_ALONE}
    return [f"++{word}"] if is_unknown or _DOTTED.fullmatch(word) else [word]
