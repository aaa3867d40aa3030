"""Models and their fields for `benchmarks.accuracy`: what is learned, and what is met later.

Each setting is a model trained on part of a data set, held-out rows of the same part, and *pools*
of rows it meets later, of which the first is drawn as the held-out rows were. The reference is
built by the product (`reference_data.build`), so scores, calibration and division are those of an
import; the last layer is a logistic regression or that of a small network. Pictures are shifted by
the catalogue of `fieldwatch drill`, as the quick drill of an import does; tables, which an import
does not know yet, column by column here.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import QuantileTransformer

from benchmarks import accuracy_pictures
from monitor.services.accuracy.basis import AccuracyBasis, make_basis
from monitor.stats.accuracy.head import softmax
from monitor.stats.accuracy.recorded import Labelled, Recorded
from reference_data import held_out
from reference_data.build import build_reference
from reference_data.conformal import p_values
from reference_data.corruptions.catalogue import STAND_INS, Shift, corrupt
from reference_data.roles import ReferenceRow
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward
from reference_data.scores.semantic import SemanticScore
from reference_data.scoring import under
from reference_data.shifted import NO_CLASS, Shifted
from reference_data.shifted_pass import QUICK_PICTURES, QUICK_SEVERITIES

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """A model, what was learned about its accuracy, and what it meets."""

    name: str
    data: str
    held_back: bool
    """Whether nothing about the method was chosen by looking at it."""
    basis: AccuracyBasis
    pools: Mapping[str, Labelled]
    """By name; the first is healthy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """Rows as a model sees them, with their true classes."""

    outputs: Forward
    labels: Indices

    def take(self, places: Indices) -> "Seen":
        """Pick rows."""
        return Seen(outputs=self.outputs.take(places), labels=self.labels[places])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moved:
    """Held-out rows after one shift."""

    shift: str
    severity: int
    origin: Indices
    """Places among the held-out rows."""
    seen: Seen


def settings(data: Path | None, cache: Path | None, quick: bool) -> list[Callable[[], Setting]]:
    """List what there is, to be made one at a time.

    Parameters
    ----------
    data
        The folder of real data sets; None leaves digits alone.
    cache
        Where to keep what the network makes of photos; None keeps nothing.
    quick
        Leave out photos, whose forward passes take minutes.
    """
    found: list[Callable[[], Setting]] = [digits]
    if data is not None:
        for by, held_back in (
            ("age", False),
            ("education", False),
            ("marital status", True),
            ("occupation", True),
        ):
            found.append(lambda by=by, held=held_back: adult(data, by, held))  # type: ignore[misc]
        found.append(lambda: bike(data))
        if not quick:
            found.append(lambda: pacs(data, cache))
    return found


def digits() -> Setting:
    """Handwritten digits and a small network; the field brings corruptions of other severity."""
    drawn = load_digits()
    pictures = np.rint(drawn.images * (255 / 16)).astype(np.uint8)
    labels = drawn.target.astype(np.intp)
    order = np.random.default_rng([SEED, 1]).permutation(len(labels))
    train, held, later = order[:600], order[600:1_200], order[1_200:]
    network = MLPClassifier((64,), max_iter=800, random_state=SEED, alpha=1e-3)
    network.fit(pictures[train].reshape(-1, 64) / 255, labels[train])
    first, last = network.coefs_
    inner, outer = network.intercepts_

    def see(images: npt.NDArray[np.uint8]) -> Forward:
        pixels = images.reshape(-1, 64) / 255
        hidden = np.maximum(0, pixels @ first + inner)
        return _forward(hidden @ last + outer, hidden, pixels)

    def shifted(places: Indices, shift: Shift, severity: int) -> Seen:
        made = [
            np.asarray(
                corrupt(Image.fromarray(pictures[k]), shift, severity, seed=SEED, item=str(k))
            )
            for k in places.tolist()
        ]
        truth = np.full(len(places), NO_CLASS) if shift in STAND_INS else labels[places]
        return Seen(outputs=see(np.stack(made)), labels=truth)

    chosen = np.arange(QUICK_PICTURES)
    rng = np.random.default_rng([SEED, 2])
    pools = {"healthy": Seen(outputs=see(pictures[later]), labels=labels[later])}
    for shift in Shift:
        if shift not in STAND_INS:
            pools |= {f"{shift} {level}": shifted(later, shift, level) for level in (2, 4)}
    for name, change in _UNLISTED.items():
        pools[name] = Seen(outputs=see(change(pictures[later], rng)), labels=labels[later])
    return _setting(
        "digits, corrupted",
        "digits",
        False,
        train=Seen(outputs=see(pictures[train]), labels=labels[train]),
        held=Seen(outputs=see(pictures[held]), labels=labels[held]),
        groups={},
        head=(last.T, outer),
        moved=[
            Moved(
                shift=shift.value,
                severity=level,
                origin=chosen,
                seen=shifted(held[chosen], shift, level),
            )
            for shift in Shift
            for level in QUICK_SEVERITIES
        ],
        pools=pools,
    )


def _salt(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return np.where(rng.random(images.shape) < 0.1, 255 - images, images).astype(np.uint8)


_UNLISTED: dict[
    str, Callable[[npt.NDArray[np.uint8], np.random.Generator], npt.NDArray[np.uint8]]
] = {
    "salted": _salt,
    "a pixel aside": lambda images, _: np.roll(images, 1, axis=2),
    "mirrored": lambda images, _: images[:, :, ::-1],
}
"""Shifts that no drill knows."""


def pacs(data: Path, cache: Path | None) -> Setting:
    """Photos of seven things and a frozen body; the field brings art, cartoons and sketches."""
    kept = accuracy_pictures.photos(data / "pacs", cache, SEED)
    photo = kept.styles["photo"]
    scale = float(photo.embedding.std())
    count = len(kept.labels["photo"])
    cut = (int(0.4 * count), int(0.8 * count))
    places = np.arange(count)
    train, held, later = places[: cut[0]], places[cut[0] : cut[1]], places[cut[1] :]
    head = LogisticRegression(C=0.1, max_iter=500)
    head.fit(photo.embedding[train] / scale, kept.labels["photo"][train])

    def see(found: accuracy_pictures.Features) -> Forward:
        features = found.embedding / scale
        return _forward(features @ head.coef_.T + head.intercept_, features, found.mid)

    photos = Seen(outputs=see(photo), labels=kept.labels["photo"])
    pools = {"photo": photos.take(later)} | {
        style.replace("_", " "): Seen(outputs=see(kept.styles[style]), labels=kept.labels[style])
        for style in accuracy_pictures.STYLES[1:]
    }
    origin = np.arange(QUICK_PICTURES)
    truth = kept.labels["photo"][held[origin]]
    return _setting(
        "PACS, photos then other styles",
        "PACS",
        False,
        train=photos.take(train),
        held=photos.take(held),
        groups={},
        head=(head.coef_, head.intercept_),
        moved=[
            Moved(
                shift=shift.value,
                severity=level,
                origin=origin,
                seen=Seen(
                    outputs=see(found),
                    labels=np.full(len(origin), NO_CLASS) if shift in STAND_INS else truth,
                ),
            )
            for (shift, level), found in kept.drilled.items()
        ],
        pools=pools,
    )


def adult(data: Path, by: str, held_back: bool) -> Setting:
    """Census income, trained on part of the people; the field brings the others."""
    table = pd.read_parquet(data / "tabular" / "adult.parquet")
    labels = table["class"].astype(str).str.contains(">50K").to_numpy().astype(np.intp)
    numbers = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
    names = ["workclass", "marital-status", "occupation", "relationship", "race", "sex"]
    ranked = QuantileTransformer(
        output_distribution="normal", random_state=SEED, subsample=10_000
    ).fit_transform(table[numbers])
    one_hot = pd.get_dummies(table[names].astype(str)).to_numpy(dtype=float)
    married = table["marital-status"].astype(str).str.startswith("Married").to_numpy()
    office = table["occupation"].astype(str)
    desks = office.isin(["Prof-specialty", "Exec-managerial", "Adm-clerical", "Tech-support"])
    age, schooling = table["age"].to_numpy(), table["education-num"].to_numpy()
    divisions = {
        "age": (age < 45, {"45 to 59": (age >= 45) & (age < 60), "60 and over": age >= 60}),
        "education": (
            schooling <= 10,
            {
                "associates": (schooling > 10) & (schooling < 13),
                "bachelors": schooling == 13,
                "higher": schooling > 13,
            },
        ),
        "marital status": (~married, {"married": married}),
        "occupation": (
            ~desks.to_numpy(),
            {
                "professionals": (office == "Prof-specialty").to_numpy(),
                "managers": (office == "Exec-managerial").to_numpy(),
                "clerks": (office == "Adm-clerical").to_numpy(),
            },
        ),
    }
    known, others = divisions[by]
    columns = {name: table[name].astype(str).to_numpy() for name in ("workclass", "race", "sex")}
    return _table(
        f"adult income by {by}",
        "adult",
        held_back,
        np.concatenate([np.clip(ranked, -3, 3), one_hot], axis=1),
        labels,
        places=np.flatnonzero(known),
        cut=(6_000, 8_000, 12_000),
        pools={name: np.flatnonzero(mask) for name, mask in others.items()},
        groups=columns,
        columns=len(numbers),
    )


def bike(data: Path) -> Setting:
    """Whether an hour is busier than half of 2011's, trained on 2011; the field is 2012."""
    table = pd.read_csv(data / "tabular" / "bike_sharing_hourly.csv")
    first = (table["yr"] == 0).to_numpy()
    labels = (table["cnt"] > table["cnt"][first].median()).to_numpy().astype(np.intp)
    numbers = ["temp", "atemp", "hum", "windspeed"]
    scaled = ((table[numbers] - table[numbers].mean()) / table[numbers].std()).to_numpy()
    names = table[["hr", "weekday", "weathersit", "workingday"]].astype(str)
    hours = table["hr"].astype(str) + "-" + table["workingday"].astype(str)
    one_hot = [pd.get_dummies(names).to_numpy(float), pd.get_dummies(hours).to_numpy(float)]
    quarter = ((table["mnth"] - 1) // 3).to_numpy()
    return _table(
        "bike sharing, 2011 then 2012",
        "bike sharing",
        False,
        np.concatenate([scaled, *one_hot], axis=1),
        labels,
        places=np.flatnonzero(first),
        cut=(4_500, 7_000, 8_645),
        pools={f"2012 Q{k + 1}": np.flatnonzero(~first & (quarter == k)) for k in range(4)},
        groups={
            "month": table["mnth"].astype(str).to_numpy(),
            "weather": table["weathersit"].astype(str).to_numpy(),
        },
        columns=len(numbers),
    )


def _table(
    name: str,
    data: str,
    held_back: bool,
    features: Floats,
    labels: Indices,
    *,
    places: Indices,
    cut: tuple[int, int, int],
    pools: Mapping[str, Indices],
    groups: Mapping[str, npt.NDArray[np.object_]],
    columns: int,
) -> Setting:
    """Train a logistic regression on rows of a table; the first `columns` are numbers."""
    rng = np.random.default_rng([SEED, 3])
    order = rng.permutation(places)
    train, held, later = order[: cut[0]], order[cut[0] : cut[1]], order[cut[1] : cut[2]]
    head = LogisticRegression(max_iter=2_000).fit(features[train], labels[train])

    def see(rows: Floats) -> Forward:
        z = rows @ head.coef_[0] + head.intercept_[0]
        return _forward(np.stack([np.zeros_like(z), z], axis=1), rows, rows)

    def seen(chosen: Indices) -> Seen:
        return Seen(outputs=see(features[chosen]), labels=labels[chosen])

    moved = []
    for column in range(columns):
        for severity, offset in enumerate((-1.0, 1.0, 2.0, None), start=1):
            origin = rng.permutation(len(held))[:300]
            rows = features[held[origin]].copy()
            spread = features[train][:, column].std()
            values = rows[:, column]
            rows[:, column] = (
                rng.permutation(values) if offset is None else values + offset * spread
            )
            moved.append(
                Moved(
                    shift=f"column {column}",
                    severity=severity,
                    origin=origin,
                    seen=Seen(outputs=see(rows), labels=labels[held[origin]]),
                )
            )
    return _setting(
        name,
        data,
        held_back,
        train=seen(train),
        held=seen(held),
        groups={key: column[held].astype(str) for key, column in groups.items()},
        head=(np.concatenate([np.zeros_like(head.coef_), head.coef_]), np.zeros(2)),
        moved=moved,
        pools={"healthy": seen(later)} | {key: seen(chosen) for key, chosen in pools.items()},
    )


def _forward(logits: Floats, embedding: npt.ArrayLike, mid: npt.ArrayLike) -> Forward:
    return Forward(
        logits=np.asarray(logits, dtype=np.float32),
        embedding=np.asarray(embedding, dtype=np.float32),
        mid=np.asarray(mid, dtype=np.float32),
    )


def _setting(
    name: str,
    data: str,
    held_back: bool,
    *,
    train: Seen,
    held: Seen,
    groups: Mapping[str, npt.NDArray[np.str_]],
    head: tuple[npt.ArrayLike, npt.ArrayLike],
    moved: Sequence[Moved],
    pools: Mapping[str, Seen],
) -> Setting:
    """Build the reference as an import does, and record the pools as a gateway does."""
    classes = train.outputs.logits.shape[1]
    vocab = tuple(f"c{k}" for k in range(classes))
    rows = [
        ReferenceRow(item=f"t{k}", label=label, held_out=False, episode=f"t{k}", properties={})
        for k, label in enumerate(train.labels.tolist())
    ] + [
        ReferenceRow(
            item=f"h{k}",
            label=label,
            held_out=True,
            episode=f"h{k}",
            properties={},
            segments={key: str(column[k]) for key, column in groups.items()},
        )
        for k, label in enumerate(held.labels.tolist())
    ]
    built = build_reference(
        rows,
        [train.outputs, held.outputs],
        weights=np.asarray(head[0], dtype=np.float32),
        bias=np.asarray(head[1], dtype=np.float32),
        vocab=vocab,
        seed=SEED,
    )
    scores, calibration = (_arrays(built.files[file]) for file in ("scores.npz", "reference.npz"))
    semantic = SemanticScore.from_arrays(under(scores, "semantic."))
    domain = DomainScore.from_arrays(under(scores, "domain."))

    def recorded(seen: Seen, number: int) -> Labelled:
        rng = np.random.default_rng([SEED, 4, number])
        p = [
            p_values(found, calibration[key].astype(np.float64), rng.uniform(size=len(found)))
            for key, found in (
                ("semantic", semantic.score(seen.outputs)),
                ("domain", domain.score(seen.outputs.mid)),
            )
        ]
        return Labelled(
            rows=Recorded(
                probabilities=softmax(seen.outputs.logits.astype(np.float64)),
                p_semantic=p[0],
                p_domain=p[1],
            ),
            labels=seen.labels,
        )

    basis = make_basis(
        vocab,
        SEED,
        held_out.from_arrays(_arrays(built.files[held_out.FILE])),
        calibration,
        _joined(moved, len(train.labels), semantic, domain),
    )
    assert basis is not None
    return Setting(
        name=name,
        data=data,
        held_back=held_back,
        basis=basis,
        pools={key: recorded(seen, number) for number, (key, seen) in enumerate(pools.items())},
    )


def _joined(
    moved: Sequence[Moved], trained: int, semantic: SemanticScore, domain: DomainScore
) -> Shifted:
    outputs = [each.seen.outputs for each in moved]
    counts = [len(each.seen.labels) for each in moved]
    return Shifted(
        # Held-out rows come after the training ones.
        rows=np.concatenate([each.origin for each in moved]) + trained,
        shift=np.repeat([each.shift for each in moved], counts),
        severity=np.repeat([each.severity for each in moved], counts),
        labels=np.concatenate([each.seen.labels for each in moved]),
        logits=np.concatenate([each.logits for each in outputs]),
        embedding=np.zeros((sum(counts), 0), dtype=np.float16),
        semantic=np.concatenate([semantic.score(each) for each in outputs]),
        domain=np.concatenate([domain.score(each.mid) for each in outputs]),
        properties={},
    )


def _arrays(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
