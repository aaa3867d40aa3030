"""Train the next version on what people said: the second half of the flywheel.

    fieldwatch review export bears --out next/ --data bears/
    python examples/retrain.py next/ --out bears-8.pkl
    fieldwatch import bears-8.pkl --data next/labels.csv --name bears --trust-pickle
    fieldwatch rollout start bears_v8.yaml --reason "trained on 300 reviewed pictures"

The last command starts version 8 in shadow *beside* version 7, which goes on acting.

Change what is between the lines to how you train; the table loads in one line whatever that is.
"""

import argparse
from pathlib import Path

import pandas as pd
from fastai.vision.all import (
    ImageDataLoaders,
    Resize,
    accuracy,
    aug_transforms,
    resnet18,
    vision_learner,
)


def main() -> None:
    """Load the table, train, and export the Learner."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", type=Path, help="folder that `fieldwatch review export` wrote")
    parser.add_argument("--out", type=Path, required=True, help="the Learner to write, a .pkl")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--from-nothing", action="store_true", help="no pretrained weights: nothing is downloaded"
    )
    options = parser.parse_args()

    table = pd.read_csv(options.export / "labels.csv")
    # ------------------------------------------------------------------------------------------
    dls = ImageDataLoaders.from_df(
        table,
        path=options.export,
        valid_col="is_valid",
        item_tfms=Resize(options.size),
        batch_tfms=aug_transforms(),
        bs=options.batch,
    )
    learn = vision_learner(dls, resnet18, metrics=accuracy, pretrained=not options.from_nothing)
    learn.fine_tune(options.epochs)
    # ------------------------------------------------------------------------------------------
    reviewed = table[table["decided_by"].notna()]
    print(f"trained on {len(table)} pictures, {len(reviewed)} of them as people said")
    learn.path = Path.cwd()
    learn.export(options.out.absolute())
    print(f"Written: {options.out}")


if __name__ == "__main__":
    main()
