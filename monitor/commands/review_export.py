"""`fieldwatch review export`: a table for the next training run."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import console, print_json
from monitor.services.review.export import Exported, ExportWish, export
from monitor.wiring import open_store

SHOWN = 5


def run(
    *,
    model: str,
    out: Path,
    data: Path | None,
    valid_share: float,
    as_json: bool,
    config: Path | None,
) -> int:
    """Write the tables and the field's pictures."""
    with open_store(config) as context:
        done = export(context, ExportWish(model=model, out=out, data=data, valid_share=valid_share))
    if as_json:
        print_json(done)
    else:
        _show(done)
    return 0


def _show(done: Exported) -> None:
    console.print(
        f"{done.rows} rows, {done.from_field} of them from the field: "
        f"{done.confirmed} items confirmed, {done.relabelled} relabelled, {done.excluded} left out"
    )
    if done.without_picture:
        named = ", ".join(done.without_picture[:SHOWN])
        console.print(
            f"{len(done.without_picture)} settled events have no picture any more and cannot be "
            f"trained on: {escape(named)}{' …' if len(done.without_picture) > SHOWN else ''}"
        )
    if done.open:
        console.print(f"{done.open} items still wait for readers")
    folder = escape(str(done.table.parent))
    console.print("Load it:", markup=False)
    console.print(
        f"  ImageDataLoaders.from_df(pd.read_csv('{folder}/labels.csv'), path='{folder}', "
        "valid_col='is_valid', item_tfms=Resize(224))",
        markup=False,
        soft_wrap=True,
    )
