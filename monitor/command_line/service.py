"""Commands that run the service, and one that sends it something."""

from pathlib import Path
from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json


def up(as_json: Json = False, config: Config = None) -> None:
    """Run the gateway and the monitor until Ctrl-C."""
    run("up", as_json=as_json, config=config)


def gateway(as_json: Json = False, config: Config = None) -> None:
    """Run the gateway: answer, score, record."""
    run("gateway", as_json=as_json, config=config)


def monitor(as_json: Json = False, config: Config = None) -> None:
    """Run the monitor: detect, alarm, summarise."""
    run("monitor", as_json=as_json, config=config)


def send(
    path: Annotated[Path, typer.Argument(help="File, folder, or CSV/Parquet table of paths.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Model that shall answer; else the only one.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, help="Inputs per second; else full speed.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Camera, site or user of the inputs.")
    ] = None,
    case_from: Annotated[
        str | None, typer.Option("--case-from", help="'name': the file's name is the case id.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option("--segment", help="key=value to slice by; repeatable.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=256, help="Most requests at once.")
    ] = 8,
    url: Annotated[
        str | None, typer.Option("--url", envvar="FIELDWATCH_URL", help="The gateway's address.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Send files or the rows of a table to a gateway."""
    run("send", **locals())


def demo(
    check: Annotated[bool, typer.Option("--check", help="Exit 0 only if it came true.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Divides and orders the data.")] = 0,
    home: Annotated[
        Path | None, typer.Option("--home", "--keep", help="Keep everything in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Play the whole story on real handwritten digits."""
    run("demo", check=check, seed=seed, home=home, as_json=as_json)
