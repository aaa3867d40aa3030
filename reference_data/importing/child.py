"""The process that opens the pickle: ``python -m reference_data.importing.child JOB PROGRESS``.

It gives up the network before it imports anything that could use it, opens the Learner, restates
its transforms, exports its model and lets it predict real items in its own way. All that leaves are
files in the job's folder, and lines of progress on the descriptor PROGRESS.
"""

import importlib.util
import os
import pickle
import re
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from reference_data.bundle import BODY
from reference_data.errors import ImportRefused
from reference_data.importing.confinement import confine
from reference_data.importing.job import (
    FEATURES,
    HEAD,
    INPUTS,
    MODEL,
    OUTCOME,
    PROBABILITIES,
    BodyJob,
    BodyOutcome,
    Job,
    Outcome,
    Refusal,
    Tick,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from reference_data.preprocess import Preprocessing

_TICK_SECONDS = 0.1
_COMPARED = 16
"""Items a body is given at once."""


class _Reporter:
    """Writes progress as JSON lines, no more than ten a second."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8")
        self._last = 0.0

    def tick(self, step: str, total: int | None, done: int) -> None:
        now = time.monotonic()
        if done in (0, total) or now - self._last >= _TICK_SECONDS:
            self._last = now
            line = msgspec.json.encode(Tick(step=step, total=total, done=done)).decode()
            self._pipe.write(f"{line}\n")


def main() -> None:
    """Do the job and write its outcome, or why it was refused."""
    job_file, descriptor = Path(sys.argv[1]), int(sys.argv[2])
    folder = job_file.parent
    job = msgspec.json.decode(job_file.read_bytes(), type=Job)
    report: Outcome | Refusal
    try:
        means = confine() if job.confine else ()
        if job.confine and not means:
            raise ImportRefused(
                "this system offers no way to keep the pickle off the network (neither network "
                "namespaces nor system call filters). Import on Linux, or add --unconfined if you "
                "made the pickle yourself; the bundle will say so."
            )
        report = _import(job, folder, means, _Reporter(descriptor))
    except ImportRefused as refused:
        report = Refusal(refused=str(refused))
    (folder / OUTCOME).write_bytes(msgspec.json.encode(report))


def _import(job: Job, folder: Path, means: tuple[str, ...], reporter: _Reporter) -> Outcome:
    warnings.simplefilter("ignore")
    reporter.tick("opening the Learner", None, 0)
    if job.code is not None:
        _run_code(Path(job.code))
    # Imported here, not above: this process must be confined before it imports anything large.
    import fastai
    import torch

    from reference_data.importing import export, layers, targets, transforms

    learner = _open(job.learner, job.learner_name)
    vocab = targets.read_vocab(learner)
    form, items = transforms.as_items(learner, job.items)
    preprocessing = transforms.restate(learner, items[0], Path(job.items[0]))
    inputs = _predict(learner, items, len(vocab), folder, reporter)

    # Before the model's own export, which leaves hooks in it.
    body = None
    if job.body is not None:
        reporter.tick("exporting the pretrained body", None, 0)
        given = (learner, items[0], preprocessing)
        body = _export_body(job, job.body, given, inputs, folder)
    reporter.tick("exporting the model", None, 0)
    model = learner.model.eval()
    # Two at least: from a batch of one torch would conclude that the batch size is always one.
    batch = torch.from_numpy(np.array(inputs[[0, len(inputs) - 1]]))
    calls = layers.trace(model, batch)
    head = layers.find_head(model, batch)
    mid_layer = layers.choose_mid_layer(model, calls, job.mid_layer)
    embedding_dim, mid_dim = export.export(model, head, mid_layer, batch, folder / MODEL)
    if head.linear:
        export.save_head(model, head, folder / HEAD)
    return Outcome(
        vocab=vocab,
        preprocessing=preprocessing,
        mid_layer=mid_layer,
        embedding_dim=embedding_dim,
        mid_dim=mid_dim,
        architecture=_architecture(model),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        items_as=form,
        confinement=means,
        versions={"torch": str(torch.__version__), "fastai": str(fastai.__version__)},
        body=body,
    )


def _export_body(
    job: Job,
    wanted: BodyJob,
    given: tuple[Any, object, "Preprocessing"],
    inputs: Any,
    folder: Path,
) -> BodyOutcome:
    """Export the body, and note what it makes of the parity items.

    Parameters
    ----------
    given
        The Learner, an item in the form it takes, and its transforms.
    inputs
        What the Learner gives its model for the parity items.
    """
    import torch

    from reference_data.importing import export, layers, pretrained, transforms

    learner, item, preprocessing = given
    body = pretrained.open_body(
        wanted,
        learner,
        lambda file: _open(file, wanted.label),
        lambda other: transforms.restate(other, item, Path(job.items[0])),
    )
    fed = pretrained.fed_as(body, preprocessing)
    batch = torch.from_numpy(np.array(inputs[[0, len(inputs) - 1]]))
    calls = layers.trace(fed, batch)
    last = layers.find_last_layers(fed, layers.find_head(fed, batch), batch)
    outside = [
        name
        for name in layers.runs_before(fed, last, calls)
        if body.within and not f"{name}.".startswith(f"{body.within}.")
    ]
    if outside:
        raise ImportRefused(
            f"{wanted.label} fills {body.within} of the Learner's network, and {outside[0]} before "
            "its last layers is left as it was fine-tuned. Give the weights of the whole body."
        )
    features = export.BodyFeatures(fed, last).eval()
    made = _features(features, inputs)
    _refuse_same(wanted, learner.model.eval(), fed, last, inputs[:_COMPARED], made[:_COMPARED])
    np.save(folder / FEATURES, made)
    return BodyOutcome(
        source=body.source,
        weights_file=body.weights_file,
        weights_sha256=body.weights_sha256,
        layer=last.removeprefix("model.") if fed is not body.model else last,
        dim=export.export_features(features, batch, folder / BODY),
    )


def _refuse_same(
    wanted: BodyJob, model: "nn.Module", body: "nn.Module", last: str, inputs: Any, made: Any
) -> None:
    """Refuse a body that sees what the Learner's network sees already."""
    from reference_data.importing import export

    if type(model) is not type(body) or last not in dict(model.named_modules()):
        return
    features = export.BodyFeatures(model, last).eval()
    own = _features(features, inputs)
    features.close()
    if own.shape == made.shape and np.allclose(own, made, rtol=1e-4, atol=1e-5):
        raise ImportRefused(
            f"--domain-body {wanted.label} is the Learner's own body: it was not fine-tuned, or "
            "this was saved after it was. A second pass would repeat the first; leave it out, or "
            "give the body from before fine-tuning."
        )


def _features(features: "nn.Module", inputs: Any) -> Any:
    import torch

    with torch.no_grad():
        parts = [
            features(torch.from_numpy(np.array(inputs[k : k + _COMPARED]))).float().numpy()
            for k in range(0, len(inputs), _COMPARED)
        ]
    return np.concatenate(parts)


def _open(file: str, name: str) -> Any:
    import torch
    from fastai.learner import Learner, load_learner

    try:
        try:
            learner = load_learner(file, cpu=True)
        except UnboundLocalError:
            # fastai 2.8 swallows most ImportErrors here and trips over its unset result.
            learner = torch.load(file, map_location="cpu", weights_only=False)
    except (AttributeError, ImportError) as error:
        other = re.search(r"'([^']+)' object has no attribute 'dls'", str(error))
        if other:
            raise ImportRefused(_no_learner(name, other[1])) from error
        raise ImportRefused(_missing(name, error)) from error
    except (pickle.UnpicklingError, EOFError) as error:
        raise ImportRefused(
            f"{name} is not an exported Learner: {_line(error)}. Export one with "
            'learn.export("model.pkl").'
        ) from error
    except Exception as error:
        raise ImportRefused(
            f"{name} cannot be opened: {type(error).__name__}: {_line(error)}. If it "
            "was exported with other versions of torch or fastai, export it again with "
            f"those installed here ({_versions()})."
        ) from error
    if not isinstance(learner, Learner):
        raise ImportRefused(_no_learner(name, type(learner).__name__))
    return learner


def _no_learner(name: str, found: str) -> str:
    return (
        f"{name} holds a {found}, not a Learner. Export the whole Learner with "
        'learn.export("model.pkl"); learn.save writes weights only.'
    )


def _run_code(file: Path) -> None:
    """Run the owner's file where the pickle will look for names: as itself and as the script."""
    sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ImportRefused(
            f"--code {file} does not run: {type(error).__name__}: {_line(error)}. It shall only "
            "define what the Learner refers to; put training under if __name__ == '__main__'."
        ) from error
    script = sys.modules["__main__"]
    for name, value in vars(module).items():
        if not name.startswith("__"):
            vars(script).setdefault(name, value)


def _missing(name: str, error: AttributeError | ImportError) -> str:
    text = " ".join(str(part) for part in error.args) or str(error)
    if isinstance(error, ImportError):
        module = error.name or text
        return (
            f"{name} refers to the module {module!r}, which cannot be imported here: "
            f"{_line(error)}. If it is your own file, pass it with --code {module}.py; if it is a "
            "package, install it beside Fieldwatch."
        )
    found = re.search(r"attribute '([^']+)' on <module '([^']+)'", text)
    what = text.splitlines()[-1].strip()
    if found:
        # The owner's script or notebook was __main__ then; this module is now.
        ours = found[2] in ("__main__", "reference_data.importing.child")
        what = f"{found[1]!r} of {'the script it was exported from' if ours else found[2]}"
    return (
        f"{name} refers to {what}, which is not defined here. Put its definition into "
        "a Python file and pass that with --code FILE.py."
    )


def _predict(
    learner: Any, items: list[object], classes: int, folder: Path, reporter: _Reporter
) -> np.memmap[Any, np.dtype[np.float32]]:
    """Predict items by ``learn.predict``, keeping what the model was given and what came out."""
    given: list[Tensor] = []

    def keep(_module: "nn.Module", arguments: tuple[Any, ...]) -> None:
        given.append(arguments[0].detach().cpu().float())

    inputs: np.memmap[Any, np.dtype[np.float32]] | None = None
    probabilities = np.zeros((len(items), classes), np.float32)
    handle = learner.model.register_forward_pre_hook(keep)
    try:
        with learner.no_bar(), learner.no_logging():
            for index, item in enumerate(items):
                reporter.tick("predicting with the Learner", len(items), index)
                given.clear()
                prediction = _predict_one(learner, item)
                array = given[0].numpy()[0]
                if inputs is None:
                    inputs = np.lib.format.open_memmap(
                        folder / INPUTS, "w+", np.float32, (len(items), *array.shape)
                    )
                if array.shape != inputs.shape[1:]:
                    raise ImportRefused(
                        f"the Learner gives its model pictures of different sizes, "
                        f"{list(inputs.shape[1:])} and {list(array.shape)} for {item}; a bundle "
                        "takes one size. Add item_tfms=Resize(size), and export it again."
                    )
                if prediction.shape != (classes,):
                    raise ImportRefused(
                        f"learn.predict gives {list(prediction.shape)} numbers for {classes} "
                        "classes; the model and the Learner's vocabulary do not go together."
                    )
                inputs[index], probabilities[index] = array, prediction
    finally:
        handle.remove()
    assert inputs is not None
    inputs.flush()
    np.save(folder / PROBABILITIES, probabilities)
    reporter.tick("predicting with the Learner", len(items), len(items))
    return inputs


def _predict_one(learner: Any, item: object) -> Any:
    try:
        return learner.predict(item)[2].detach().cpu().float().numpy()
    except Exception as error:
        raise ImportRefused(
            f"learn.predict fails on {item}: {type(error).__name__}: {_line(error)}. Make it work "
            "in the notebook, and export the Learner again."
        ) from error


def _architecture(model: "nn.Module") -> str:
    children = [type(child).__name__ for child in model.children()]
    return f"{type(model).__name__}({', '.join(children[:8])}{', …' if len(children) > 8 else ''})"


def _versions() -> str:
    import fastai
    import torch

    return f"torch {torch.__version__}, fastai {fastai.__version__}"


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else type(error).__name__


if __name__ == "__main__":
    main()
