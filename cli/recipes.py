"""Recipes on the terminal: what `minixl train RECIPE --show` prints."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from minixl.cli.terminal import to_stderr

if TYPE_CHECKING:
    from minixl.settings import Settings


def show_settings(settings: Settings, everything: bool) -> None:
    """Print the settings by section and mark those that differ from their default; `everything`: also the unused sections."""
    changed, hidden = settings.changed(), 0
    for section in settings.schema.sections:
        if not everything and not section.used(settings):
            hidden += len(section.settings)
            continue
        click.echo(f"# {section.title}")
        for name, setting in section.settings.items():
            click.echo(f"{name} = {settings[name]!r}" + (f"  * default {setting.default!r}" if name in changed else ""))
            click.echo(f"    {setting.help}" + (f"  [{', '.join(setting.choices)}]" if setting.choices else ""))
        click.echo()
    if hidden:
        to_stderr(f"{hidden} settings that this recipe does not use are not shown; --show --all shows them")


def show_toml(settings: Settings, name: str, everything: bool) -> None:
    """Print a recipe with the settings that differ from their default, or with `everything`."""
    title = "all settings" if everything else "the settings that differ from the defaults"
    click.echo(f"# {json.dumps(name, ensure_ascii=False)[1:-1]}: {title}")    # a line break would end the comment
    click.echo(settings.to_toml(changed_only=not everything), nl=False)


class WithRecipes(click.Command):
    """A command whose help ends with the shipped recipes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from minixl.settings import recipe_titles

        with formatter.section("Recipes"):
            formatter.write_dl(list(recipe_titles().items()))
