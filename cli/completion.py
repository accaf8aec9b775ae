"""Complete recipes, settings, LANGUAGE=FILE and run folders in bash, zsh and fish, through click's own completion.

    eval "$(_MINIXL_COMPLETE=bash_source minixl)"

A value that ends in = or / goes on, so the shell must not put a space after it.  bash also takes = as the end of a word.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, ZshComplete, add_completion_class

GOES_ON = ("=", "/")
LANGUAGE = re.compile(r"[a-z]{2,3}(?=$|[._-])")                # at the start of a name, such as en of en.txt

Items = list[CompletionItem]


def complete_recipe(context: click.Context, argument: click.Parameter, incomplete: str) -> Items:
    """Complete the name of a shipped recipe, or else the path of a file."""
    from minixl.settings import recipe_titles

    named = [CompletionItem(name, help=title) for name, title in recipe_titles().items() if name.startswith(incomplete)]
    return named or [CompletionItem(incomplete, type="file")]


def complete_setting(context: click.Context, option: click.Parameter, incomplete: str) -> Items:
    """Complete the name of a setting, and after the = its values if they are few."""
    from minixl.methods import SCHEMA

    name, equals, value = incomplete.partition("=")
    if not equals:
        return [CompletionItem(f"{name}=", help=SCHEMA[name].help) for name in SCHEMA if name.startswith(incomplete)]
    if name not in SCHEMA:
        return []
    setting = SCHEMA[name]
    values = ("true", "false") if isinstance(setting.default, bool) else setting.choices
    return [CompletionItem(f"{name}={choice}") for choice in values if choice.startswith(value)]


def complete_language_file(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Complete a language that the line or the files here name, and after the = the path of a file."""
    language, equals, path = incomplete.partition("=")
    if equals:
        return [CompletionItem(f"{language}={found}") for found in _paths(path)]
    pairs = [pair for value in context.params.values() if isinstance(value, tuple) for pair in map(str, value) if "=" in pair]
    here = (LANGUAGE.match(path.name) for path in sorted(Path().iterdir()))
    languages = [pair.partition("=")[0] for pair in pairs] + [match[0] for match in here if match]
    return [CompletionItem(f"{name}=") for name in dict.fromkeys(languages) if name.startswith(incomplete)]


def complete_run(context: click.Context, argument: click.Parameter, incomplete: str) -> Items:
    """Complete the path of a run folder."""
    folders = [path.rstrip("/") for path in _paths(incomplete) if path.endswith("/")]
    return [CompletionItem(folder if _is_run(Path(folder)) else f"{folder}/") for folder in folders]


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").is_file() or any(folder.glob("seed-*/config.toml"))


def _paths(incomplete: str) -> Iterable[str]:
    """Yield the paths that begin with `incomplete`, folders with a / at the end; hidden ones only if it begins with a dot."""
    folder, slash, name = incomplete.rpartition("/")
    folder += slash
    base = Path(folder).expanduser()
    for path in sorted(base.iterdir()) if base.is_dir() else []:
        if path.name.startswith(name) and (name or not path.name.startswith(".")):
            yield f"{folder}{path.name}{'/' if path.is_dir() else ''}"


class Bash(BashComplete):
    """Joins the words that bash has cut at =, and answers with what follows the last =."""

    source_template = BashComplete.source_template.replace(
        "    return 0\n", "    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace\n\n    return 0\n")

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        words: list[str] = []
        for word in [*args, incomplete]:
            if words and word and (word.startswith("=") or words[-1].endswith("=")):
                words[-1] += word
            else:
                words.append(word)
        return words[:-1], words[-1]

    def get_completions(self, args: list[str], incomplete: str) -> Items:
        value = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
        before = value[:value.rfind("=") + 1]
        items = super().get_completions(args, incomplete)
        for item in items:
            if item.type == "plain":
                item.value = item.value.removeprefix(before).replace(" ", "\\ ")
        return items


class Zsh(ZshComplete):
    """Puts no space after a value without a description, and shows none for one that goes on."""

    source_template = ZshComplete.source_template.replace("compadd -U", "compadd -S '' -U")

    def format_completion(self, item: CompletionItem) -> str:
        if item.value.endswith(GOES_ON):
            item.help = None
        return super().format_completion(item)


def install() -> None:
    """Use the classes above instead of click's."""
    for shell in (Bash, Zsh):
        add_completion_class(shell)
