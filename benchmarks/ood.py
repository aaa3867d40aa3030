"""Tell what a network was not trained on: our scores beside every detector of pytorch-ood.

Networks: EfficientNet-Lite0 on PACS photos, PACS cartoons and bears, its body frozen and
fine-tuned, and a small network on digits. Against each stand other styles, ImageNet, classes held
out, corruptions. All detectors see the same features, logits and last layer of the same pictures;
none sees a picture that is out of domain before it is judged.

What is compared with them is the *joint* score, which flags. Members of the semantic score in it
were chosen by their distance from the best single member over digits, bears and PACS photos; how
semantic and domain score are joined, and which features a pretrained body gives ("with body": the
domain score sees the body from before fine-tuning, at the cost of a second pass), over the same and
PACS photos with a class left out. Everything trained on cartoons was held back from all of it.

The first run trains (about an hour on two cores) and keeps the outputs in ``runs/ood-cache``, and
beside them how peers did, which takes as long again; later ones take five minutes. ``--quick``
looks at digits alone. Without the photos (``FIELDWATCH_DATA``, else ``../shared/data``) it does so
too, and says so.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.stats import rankdata

from benchmarks.ood_data import sources
from benchmarks.ood_networks import Seen, see, without
from benchmarks.peers import NOT_INSTALLED, run_peer
from benchmarks.report import Bar, Row, at_least, at_most, finish
from reference_data.judgement import Calibration
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward
from reference_data.scores.joint import JointScore
from reference_data.scores.member import DEFAULT, Member
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.training import Training

CACHE = Path("runs/ood-cache")
DECIDES = "joint"
"""The score that is compared with the peers: the one that flags."""
MOST = 500
"""Pictures of each pool."""
WITHIN = 0.005
"""Of the best detector's AUROC, on every pair."""
MOST_MS = 0.3
BATCH = 16
Floats = npt.NDArray[np.float64]
say = Console(stderr=True).print


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How well one detector tells one pool from held-out rows."""

    auroc: float
    fpr95: float
    """Share of held-out rows flagged where 95 % of the pool are."""


def main() -> None:
    """Train or load, score, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits alone, in under a minute")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    data: Path | None = Path(os.environ.get("FIELDWATCH_DATA", "../shared/data"))
    if options.quick or data is None or not (data / "pacs").is_dir():
        say("Digits alone" if options.quick else f"{data} is not there: digits alone")
        data = None
    else:
        say("This takes about an hour the first time, and ten minutes with runs/ood-cache.")
    rows: list[Row] = []
    gaps: list[float] = []
    ours: list[float] = []
    held_back: list[bool] = []
    singles: dict[str, list[float]] = {}
    timed: dict[int, float] = {}
    for seen in _networks(data, options.seed):
        say(f"{seen.source}, {seen.network}: {seen.accuracy:.1%} of held-out rows right")
        name = f"peers-{seen.source}-{seen.network}-{options.seed}.json".replace(" ", "-")
        judged, failed = _judge(seen, CACHE / name)
        if seen.train.embedding.shape[1] not in timed:
            timed[seen.train.embedding.shape[1]] = _milliseconds(seen)
        for pool in seen.others:
            peers = {name: by[pool] for name, by in judged.items() if name.startswith("peer ")}
            row, gap = _row(seen, pool, judged, peers)
            rows.append(row)
            gaps.append(gap)
            ours.append(judged[DECIDES][pool].auroc)
            held_back.append("cartoon" in seen.source)
            for name, found in judged.items():
                singles.setdefault(name, []).append(found[pool].auroc)
        for name, why in failed.items():
            say(f"  {name} failed: {why[:120]}")
    finish("Mean AUROC over all pairs", _means(singles, len(ours)), [], None)
    bars = _bars(gaps, ours, held_back, singles, timed)
    finish("What a network was not trained on", rows, bars, options.json)


def _networks(data: Path | None, seed: int) -> Iterator[Seen]:
    for make in sources(data, seed, MOST):
        source = make()
        kinds = ("small",) if source.name.startswith("digits") else ("frozen", "fine-tuned")
        for kind in kinds:
            file = CACHE / f"{source.name.replace(' ', '-')}-{kind}-{seed}.npz"
            if not file.is_file():
                say(f"Training: {source.name}, {kind}")
                see(source, kind, epochs=12 if kind == "small" else 3, seed=seed).save(file)
            seen = Seen.load(file)
            yield seen
            if seen.source.startswith("PACS") and kind == "frozen":
                yield from (without(seen, absent) for absent in range(len(seen.weights)))


def _judge(seen: Seen, peers_file: Path) -> tuple[dict[str, dict[str, Judged]], dict[str, str]]:
    """Judge all pools by our scores and by all peers, by detector and pool."""
    parts = {"held_out": seen.held_out, **seen.others}
    judged = {name: _against(seen, by_part) for name, by_part in _ours(seen, parts).items()}
    peers = _peers(seen, parts, peers_file)
    for name, by_pool in peers.get("judged", {}).items():
        judged[f"peer {name}"] = {pool: Judged(**found) for pool, found in by_pool.items()}
    return judged, peers.get("failed", {})


def _peers(seen: Seen, parts: Mapping[str, Forward], file: Path) -> dict[str, Any]:
    """Run the peers, or read how they did on the same outputs before."""
    if file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept
    found = run_peer("ood", _arrays(seen, parts), {"parts": list(parts)})
    if found is None:
        return {}
    judged = {}
    for name, by_part in found["scores"].items():
        arrays = {part: np.nan_to_num(np.array(given)) for part, given in by_part.items()}
        judged[name] = {pool: asdict(each) for pool, each in _against(seen, arrays).items()}
    told = {"judged": judged, "failed": found["failed"], "ms": found["ms"]}
    file.write_text(json.dumps(told))
    return told


def _against(seen: Seen, by_part: Mapping[str, Floats]) -> dict[str, Judged]:
    return {pool: _compare(by_part["held_out"], by_part[pool]) for pool in seen.others}


def _ours(seen: Seen, parts: Mapping[str, Forward]) -> dict[str, dict[str, Floats]]:
    training = Training.of(seen.train, seen.train_labels, seen.weights, seen.bias)
    domain, everyone = DomainScore.fit(training), SemanticScore.fit(training, members=tuple(Member))
    evidence = {name: everyone.evidence(part) for name, part in parts.items()}

    def joined(*members: Member) -> dict[str, Floats]:
        kept = [member for member in members if member in everyone.members]
        return {n: np.mean([each[m] for m in kept], axis=0) for n, each in evidence.items()}

    found = {
        "semantic": joined(*DEFAULT),
        "domain": {name: domain.score(part.mid) for name, part in parts.items()},
        "maha++, rmds++, gen, fdbd": joined(Member.MAHA, Member.RMDS, Member.GEN, Member.FDBD),
    }
    found |= {f"member {member}": joined(member) for member in everyone.members}
    default = SemanticScore.fit(training)
    joint = JointScore.fit(training, default, domain)
    found[DECIDES] = {n: joint.score(found["semantic"][n], found["domain"][n]) for n in parts}
    if seen.network == "fine-tuned":
        found["with body"] = _with_body(seen, parts, default)
    return found


def _with_body(
    seen: Seen, parts: Mapping[str, Forward], semantic: SemanticScore
) -> dict[str, Floats]:
    """Join the semantic score with a domain score of the body from before fine-tuning."""

    def of_body(name: str, part: Forward) -> Forward:
        return replace(part, mid=seen.pretrained[name].embedding)

    train = of_body("train", seen.train)
    training = Training.of(train, seen.train_labels, seen.weights, seen.bias)
    domain = DomainScore.fit(training)
    joint = JointScore.fit(training, semantic, domain)
    return {
        name: joint.score(semantic.score(part), domain.score(of_body(name, part).mid))
        for name, part in parts.items()
    }


def _arrays(seen: Seen, parts: Mapping[str, Forward]) -> dict[str, npt.NDArray[np.generic]]:
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "weights": seen.weights,
        "bias": seen.bias,
        "train_labels": seen.train_labels,
        "train/logits": seen.train.logits,
        "train/embedding": seen.train.embedding,
    }
    for name, part in parts.items():
        arrays |= {f"{name}/logits": part.logits, f"{name}/embedding": part.embedding}
    return arrays


def _compare(usual: Floats, unusual: Floats) -> Judged:
    ranks = rankdata(np.concatenate([usual, unusual]))
    n, m = len(usual), len(unusual)
    auroc = (ranks[n:].sum() - m * (m + 1) / 2) / (n * m)
    threshold = np.quantile(unusual, 0.05)
    return Judged(auroc=float(auroc), fpr95=float((usual >= threshold).mean()))


def _row(
    seen: Seen,
    pool: str,
    judged: Mapping[str, Mapping[str, Judged]],
    peers: Mapping[str, Judged],
) -> tuple[Row, float]:
    best = max(peers, key=lambda name: peers[name].auroc) if peers else None
    joint, body = judged[DECIDES][pool], judged.get("with body")
    gap = peers[best].auroc - joint.auroc if best else 0.0
    row: Row = {
        "network": f"{seen.source}, {seen.network}",
        "against": pool,
        "tuned on": "cartoon" not in seen.source,
        "joint": joint.auroc,
        "FPR95": joint.fpr95,
        "with body": None if body is None else body[pool].auroc,
        "semantic": judged["semantic"][pool].auroc,
        "domain": judged["domain"][pool].auroc,
        "MSP": judged["member msp"][pool].auroc,
        "best peer": best.removeprefix("peer ") if best else NOT_INSTALLED,
        "its AUROC": peers[best].auroc if best else None,
        "its FPR95": peers[best].fpr95 if best else None,
        "behind": gap if best else None,
    }
    return row, gap


def _milliseconds(seen: Seen) -> float:
    """Time scores and p-values of a request, in batches of 16; the median of 100."""
    training = Training.of(seen.train, seen.train_labels, seen.weights, seen.bias)
    semantic, domain = SemanticScore.fit(training), DomainScore.fit(training)
    known = (semantic.score(seen.held_out), domain.score(seen.held_out.mid))
    calibration = Calibration.of(*known, JointScore.fit(training, semantic, domain))
    batch = seen.held_out.take(np.arange(BATCH))
    ids = [f"event-{place}" for place in range(BATCH)]
    taken = []
    for _ in range(100):
        begun = time.perf_counter()
        calibration.judge(semantic.score(batch), domain.score(batch.mid), ids, 0)
        taken.append((time.perf_counter() - begun) * 1_000 / BATCH)
    return float(np.median(taken))


def _means(singles: Mapping[str, list[float]], pairs: int) -> list[Row]:
    rows: list[Row] = [
        {"detector": name, "mean AUROC": float(np.mean(values)), "worst": min(values)}
        for name, values in singles.items()
        if len(values) == pairs
    ]
    return sorted(rows, key=lambda row: -float(str(row["mean AUROC"])))


def _bars(
    gaps: list[float],
    ours: list[float],
    held_back: list[bool],
    singles: Mapping[str, list[float]],
    timed: Mapping[int, float],
) -> list[Bar]:
    compared = {
        name: float(np.mean(values)) for name, values in singles.items() if name.startswith("peer ")
    }
    bars = [
        at_most(f"ms a request in batches of 16, {width} features", taken, MOST_MS)
        for width, taken in timed.items()
    ]
    if not compared:
        return bars
    best = max(compared, key=lambda name: compared[name])
    apart = [gap for gap, back in zip(gaps, held_back, strict=True) if back]
    return [
        at_most("most behind the best peer of a pair, AUROC", max(gaps), WITHIN),
        *([at_most("the same over pairs held back", max(apart), WITHIN)] if apart else []),
        at_least("pairs within it", sum(gap <= WITHIN for gap in gaps), len(gaps)),
        at_least(
            f"mean AUROC against {best.removeprefix('peer ')}", float(np.mean(ours)), compared[best]
        ),
        *bars,
    ]


if __name__ == "__main__":
    main()
