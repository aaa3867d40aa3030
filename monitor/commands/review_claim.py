"""`fieldwatch review claim`: take items in hand."""

import shlex
from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, print_json
from monitor.domain import Person, Role
from monitor.errors import NotFound
from monitor.services.context import Context
from monitor.services.review import hand_out, history
from monitor.services.review.hand_out import HandedItem
from monitor.store.review_items import Wanted
from monitor.wiring import open_store


def run(
    *,
    reader: str,
    model: str | None,
    count: int,
    pictures: Path | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Claim items and show what their reader may see."""
    person = Person(name=reader, role=Role.OPERATOR)
    with open_store(config) as context:
        handed = hand_out.claim(context, person, Wanted(model=model), most=count)
        written = {} if pictures is None else _write(context, handed, pictures)
    if as_json:
        print_json(handed)
        return 0
    if not handed:
        console.print("Nothing waits for you.")
    for item in handed:
        _show(item, written.get(item.id), reader)
    return 0


def _write(context: Context, handed: list[HandedItem], folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for item in handed:
        try:
            jpeg = history.picture(context, item.id)
        except NotFound:
            continue
        written[item.id] = folder / f"{item.id}.jpg"
        written[item.id].write_bytes(jpeg)
    return written


def _show(item: HandedItem, picture: Path | None, reader: str) -> None:
    console.print(f"[bold]{item.id}[/]  token {item.token}, yours until {clock(item.until)} UTC")
    if item.blind:
        console.print("  read blind: say what you see; the model's answer shows afterwards")
    elif item.path is not None:
        console.print(f"  {escape(item.path)} ({item.split}), labelled {escape(str(item.label))}")
        loss = "" if item.loss is None else f", loss {item.loss:.2f}"
        console.print(f"  the model says {escape(str(item.prediction))}{loss}")
    else:
        console.print(f"  the model says {escape(str(item.prediction))}")
    where = "" if item.unit is None else f" at {escape(item.unit)}"
    console.print(f"  taken {clock(item.at)} UTC{where}" if item.at else "  from the training data")
    if picture is not None:
        console.print(f"  picture: {escape(str(picture))}", soft_wrap=True)
    elif not item.has_picture:
        console.print("  no picture was kept")
    console.print(f"  labels: {escape(', '.join(item.choices))}")
    console.print(
        f"  fieldwatch review answer {item.id} relabel --label … --token {item.token} "
        f"--reader {escape(shlex.quote(reader))}",
        soft_wrap=True,
    )
