"""The commands that the README shows are those that there are, with the options it gives them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from monitor.cli import app

README = Path(__file__).parents[2] / "README.md"
SHOWN = re.compile(r"(?:\$ |`)fieldwatch ([^`#\n|>]*)")
OF_NO_INSTALLATION = {("demo",), ("rollout", "example")}
"""Commands that read no installation, and so no settings."""

Commands = dict[tuple[str, ...], set[str]]


def walk(
    group: TyperGroup, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from walk(command, (*path, name))
            if not command.invoke_without_command:
                continue
        params = command.params
        yield (
            (*path, name),
            {word for each in params for word in (*each.opts, *each.secondary_opts)},
        )


@pytest.fixture(scope="module")
def commands() -> Commands:
    """Every command that can be given, and its options."""
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    return dict(walk(program))


def test_every_command_takes_json_and_config(commands: Commands) -> None:
    assert len(commands) > 40
    assert {("events",), ("events", "show"), ("rollout", "kill")} <= set(commands)
    for path, options in commands.items():
        assert "--json" in options, path
        assert ("--config" in options) is (path not in OF_NO_INSTALLATION), path


def test_every_command_of_the_readme_exists_with_its_options(commands: Commands) -> None:
    shown = SHOWN.findall(README.read_text(encoding="utf-8"))
    assert len(shown) > 50
    for line in shown:
        words = line.split()
        if len(words) == 1 and any(path[0] == words[0] for path in commands):
            continue  # a group, or a command by its name alone
        path = next((p for p in (tuple(words[:2]), tuple(words[:1])) if p in commands), None)
        assert path is not None, line
        assert {word for word in words if word.startswith("--")} <= commands[path], line
