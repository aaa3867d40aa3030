"""`fieldwatch review …`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json, Model

app = typer.Typer(
    help="Let people look at what the model saw, and train on what they say.",
    no_args_is_help=True,
)

Reader = Annotated[str, typer.Option("--reader", help="Who reads; recorded with every answer.")]
ItemId = Annotated[str, typer.Argument(help="Id of the item.")]
Named = Annotated[str, typer.Argument(metavar="MODEL", help="The model.")]


class Doing(StrEnum):
    """What a reader can do with an item."""

    KEEP = "keep"
    RELABEL = "relabel"
    DELETE = "delete"
    NOT_ANY_CLASS = "not_any_class"
    UNSURE = "unsure"


@app.command("list")
def list_items(
    model: Model = None,
    everything: Annotated[bool, typer.Option("--all", help="Settled ones too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most to list.")] = 20,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what waits, by reason, and the most urgent items."""
    run(
        "review_list",
        model=model,
        everything=everything,
        limit=limit,
        as_json=as_json,
        config=config,
    )


@app.command("claim")
def claim(
    reader: Reader,
    model: Model = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Items to take in hand.")] = 1,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Write the items' pictures to this folder.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Take items in hand; nobody else gets them until the lease ends."""
    run(
        "review_claim",
        reader=reader,
        model=model,
        count=count,
        pictures=pictures,
        as_json=as_json,
        config=config,
    )


@app.command("answer")
def answer(
    item_id: ItemId,
    action: Annotated[Doing, typer.Argument(help="What to do with it.")],
    reader: Reader,
    label: Annotated[
        str | None, typer.Option("--label", help="The right label, with relabel.")
    ] = None,
    token: Annotated[
        int | None, typer.Option("--token", help="Of the lease; none to correct your answer.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="For whoever reads it later.")] = "",
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Answer an item in hand, or correct an answer of yours."""
    run(
        "review_answer",
        item_id=item_id,
        action=action.value,
        reader=reader,
        label=label,
        token=token,
        note=note,
        as_json=as_json,
        config=config,
    )


@app.command("undo")
def undo(item_id: ItemId, reader: Reader, as_json: Json = False, config: Config = None) -> None:
    """Take your answer back; it stays on record, and the item opens again."""
    run("review_undo", item_id=item_id, reader=reader, as_json=as_json, config=config)


@app.command("history")
def history(
    reader: Annotated[str, typer.Argument(help="Whose answers.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most to list.")] = 20,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what one person said, the latest first, and how reliably."""
    run("review_history", reader=reader, limit=limit, as_json=as_json, config=config)


@app.command("export")
def export(
    model: Named,
    out: Annotated[Path, typer.Option("--out", help="A new or an empty folder.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of the training data: all of it goes in the table."),
    ] = None,
    valid_share: Annotated[
        float, typer.Option("--valid-share", help="Share of the field's units that validate.")
    ] = 0.2,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Write what was settled as a table for the next training run."""
    run("review_export", **locals())


@app.command("import-reference")
def import_reference(
    model: Named,
    split: Annotated[
        str | None, typer.Option("--split", help="train or valid; both when absent.")
    ] = None,
    label: Annotated[str | None, typer.Option("--class", help="Only this class.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Items to queue.")] = 200,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of the training data, for larger pictures."),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Queue the training data for cleaning, largest loss first."""
    run("review_import_reference", **locals())
