"""Make sure that a Learner names one class an item, with a softmax. Runs in the child only."""

from typing import Any

import torch
from fastai.basics import Categorize, Learner

from reference_data.errors import ImportRefused


def read_vocab(learner: Learner) -> tuple[str, ...]:
    """Return the classes in the order of the model's outputs; refuse tasks other than naming one.

    Raises
    ------
    ImportRefused
        For several labels an item, regression, several inputs, or a loss without softmax.
    """
    blocks: Any = getattr(learner.dls, "tls", ())
    if getattr(learner.dls, "n_inp", 0) != 1 or len(blocks) != 2:
        raise ImportRefused(
            f"the Learner's data ({type(learner.dls).__name__}) is not one picture and one label "
            "an item; only image classifiers can be imported."
        )
    targets = [step for step in blocks[1].tfms.fs if isinstance(step, Categorize)]
    if len(targets) != 1 or type(targets[0]) is not Categorize:
        last = type(targets[0] if targets else blocks[1].tfms.fs[-1]).__name__
        raise ImportRefused(
            f"the Learner's targets are made by {last}; only one label an item (CategoryBlock) can "
            "be imported, not several (MultiCategoryBlock) and not numbers (RegressionBlock)."
        )
    vocab = tuple(str(label) for label in targets[0].vocab)
    if len(set(vocab)) != len(vocab):
        raise ImportRefused(f"the Learner's classes are not distinct as text: {list(vocab)}.")
    _refuse_other_losses(learner.loss_func, len(vocab))
    return vocab


def _refuse_other_losses(loss: object, classes: int) -> None:
    """Check by trying it that the loss turns logits into a softmax and an argmax."""
    name = type(loss).__name__
    inner = getattr(loss, "func", None)
    name = f"{name} of {type(inner).__name__}" if inner is not None else name
    activation, decodes = getattr(loss, "activation", None), getattr(loss, "decodes", None)
    logits = torch.linspace(-2, 3, 4 * classes).reshape(4, classes).sin() * 3
    softmax = torch.softmax(logits, dim=-1)
    try:
        same = (
            callable(activation)
            and callable(decodes)
            and torch.allclose(torch.as_tensor(activation(logits)), softmax, atol=1e-6)
            and torch.equal(torch.as_tensor(decodes(softmax)).long(), softmax.argmax(-1))
        )
    except Exception:  # noqa: BLE001  a loss of another task may not take such logits
        same = False
    if not same:
        raise ImportRefused(
            f"the Learner's loss is {name}, under which learn.predict does not give a softmax over "
            "classes. Set learn.loss_func = CrossEntropyLossFlat() (or LabelSmoothingCrossEntropy"
            "Flat, FocalLossFlat) if the model was trained with softmax, and export it again; "
            "several labels an item and regression cannot be imported."
        )
