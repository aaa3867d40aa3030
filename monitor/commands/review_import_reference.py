"""`fieldwatch review import-reference`: clean the training data."""

from pathlib import Path

from monitor.commands.keys import ACTOR
from monitor.commands.progress_bars import Bars
from monitor.commands.screen import console, print_json
from monitor.services.review.import_reference import Selection, import_reference
from monitor.wiring import open_store


def run(
    *,
    model: str,
    split: str | None,
    label: str | None,
    most: int,
    data: Path | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Queue the training items whose label the model believes least."""
    wanted = Selection(model=model, split=split, label=label, most=most, data=data)
    with (
        open_store(config) as context,
        Bars(quiet=as_json) as bars,
        bars.step("small pictures", most) as advance,
    ):
        queued = import_reference(context, wanted, by=ACTOR, advance=advance)
    if as_json:
        print_json(queued)
        return 0
    console.print(
        f"{queued.queued} of {queued.considered} training items queued, the largest loss first"
        + ("" if queued.largest_loss is None else f" ({queued.largest_loss:.2f} nats)")
        + f"; {queued.with_picture} with a picture"
    )
    if queued.considered and not queued.queued:
        console.print("All of these are in the queue already.")
    return 0
