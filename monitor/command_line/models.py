"""Commands that make versions of a model, and measure what its alarms are worth."""

from pathlib import Path
from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json, Reason


def import_(
    learner: Annotated[Path, typer.Argument(help="The exported Learner, a .pkl file.")],
    data: Annotated[Path, typer.Option("--data", help="Training data: folder, CSV or Parquet.")],
    name: Annotated[str, typer.Option("--name", help="Name the model is served under.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Version; else the next number.")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Open the pickle, which runs code it contains.")
    ] = False,
    code: Annotated[
        Path | None, typer.Option("--code", help="Python file the pickle refers to.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="'unknown': chart only, no alarms.")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option("--group-by", help="What items of one burst share: column, or path pattern."),
    ] = None,
    mid_layer: Annotated[
        str | None, typer.Option("--mid-layer", help="Layer the domain score looks at.")
    ] = None,
    domain_body: Annotated[
        str | None,
        typer.Option(
            "--domain-body",
            help="Body from before fine-tuning, for the domain score: an architecture or a file. "
            "Costs a second pass.",
        ),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Share of healthy inputs to flag.")
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option("--scores", help="Members of the semantic score, such as maha++,gen,knn."),
    ] = None,
    cross_conformal: Annotated[
        int | None,
        typer.Option(
            "--cross-conformal", help="Refits of the scores, for under 100 held-out episodes."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Divides the held-out rows.")] = 0,
    unconfined: Annotated[
        bool, typer.Option("--unconfined", help="Open the pickle without isolation; recorded.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve this version in place of the current one.")
    ] = False,
    drill: Annotated[
        bool, typer.Option("--drill/--no-drill", help="End with a quick drill, which certifies.")
    ] = True,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Turn a fastai Learner and its training data into a bundle, and trust it."""
    run("import_learner", **locals())


def rebaseline(
    name: Annotated[str, typer.Argument(help="The model, as it is served.")],
    data: Annotated[
        Path, typer.Option("--data", help="Confirmed pictures with labels: folder, CSV, Parquet.")
    ],
    reason: Reason,
    mode: Annotated[
        str, typer.Option("--mode", help="join: beside the held-out rows; replace: instead.")
    ] = "join",
    group_by: Annotated[
        str | None,
        typer.Option("--group-by", help="What items of one burst share: column, or path pattern."),
    ] = None,
    accept_shift: Annotated[
        bool, typer.Option("--accept-shift", help="Take rows in that are flagged too often.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the new version in place of the current one.")
    ] = False,
    drill: Annotated[
        bool, typer.Option("--drill/--no-drill", help="End with a quick drill, which certifies.")
    ] = True,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a new version whose reference holds confirmed data of the field."""
    run("rebaseline", **locals())


def drill(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Version; else the one that is served.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All pictures, severities and shares; minutes.")
    ] = False,
    novel: Annotated[
        Path | None, typer.Option("--novel", help="Pictures of things the model never saw.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The imported folder: more held-out pictures.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with curves to this file.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides every draw.")] = 0,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Certify a model's alarms: false alarms, delays, and what would go unseen."""
    run("drill", **locals())
