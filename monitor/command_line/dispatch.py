"""How the words of a command line reach the module that carries them out."""

import importlib
from typing import Any

import typer


def run(command: str, **arguments: Any) -> None:
    """Import a command's module, run it, and end with its exit code."""
    module = importlib.import_module(f"monitor.commands.{command}")
    code = module.run(**arguments)
    if code:
        raise typer.Exit(code)
