"""The models being served: loaded in the background, verified, swapped in one step.

A routed bundle is served only if its digest is on the trust list and its files are those it was
registered with. Until the next one is ready, and whenever it is refused, the previous one serves
on, unless its own trust was withdrawn.

While a candidate is rolled out beside an incumbent, both are served.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from inference.engine import Engine, ForwardPath
from inference.plan import Plan
from monitor.errors import BundleUntrusted
from monitor.rollouts.snapshot import Snapshot
from monitor.store.bundles import BundleState, RegisteredBundle
from reference_data import bundle as bundles
from reference_data.bundle import Bundle
from reference_data.errors import BundleError

log = logging.getLogger(__name__)

RETRY_S = 10.0
"""After this long a refused bundle is tried again: its files may have been restored."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One model as it is served now."""

    bundle: Bundle
    engine: Engine
    forward_path: ForwardPath
    """What the engine runs, for passes that may wait until nobody else wants one."""


class BundleOpener(Protocol):
    """Turns a verified bundle into a forward path that is ready to run."""

    def __call__(self, bundle: Bundle) -> ForwardPath:
        """Load the model; raise what goes wrong."""


class EngineFactory(Protocol):
    """Puts an engine in front of a forward path."""

    def __call__(self, model: str, forward_path: ForwardPath) -> Engine:
        """Start the engine."""


class Models:
    """Brings what is served in line with the plan. `reconcile` belongs to one background thread."""

    def __init__(
        self,
        *,
        home: Path,
        open_bundle: BundleOpener,
        make_engine: EngineFactory,
        loop: asyncio.AbstractEventLoop,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._open_bundle = open_bundle
        self._make_engine = make_engine
        self._loop = loop
        self._monotonic = monotonic
        self._refused: dict[str, tuple[str, float]] = {}
        self.served: dict[str, Served] = {}
        """By model; replaced, never changed."""
        self.incumbents: dict[str, Served] = {}
        """Those that act where the served one is still a candidate; replaced, never changed."""
        self.refusals: dict[str, str] = {}
        """Why a model's routed bundle is not served, one sentence each; replaced, never changed."""

    def is_current(self, snapshot: Snapshot) -> bool:
        """Tell whether the bundles that a snapshot names are those being served."""
        incumbent = self.incumbents.get(snapshot.model)
        wanted = None if snapshot.incumbent is None else snapshot.incumbent.bundle_sha
        found = None if incumbent is None else incumbent.bundle.digest
        return _is(self.served.get(snapshot.model), snapshot.bundle_sha) and wanted == found

    def all_served(self, model: str) -> list[Served]:
        """List what is served of a model, the routed one first."""
        return _each([self.served.get(model), self.incumbents.get(model)])

    def reconcile(self, plan: Plan) -> None:
        """Load what is routed and not served; drop what may not be served any more."""
        for model in sorted({*self.served, *self.incumbents}):
            for served in self.all_served(model):
                digest = served.bundle.digest
                if model not in plan.routes or not _is_trusted(plan, digest):
                    log.warning("%s is not served any more: %s…", model, digest[:12])
                    # First the reason: requests from here to the end of this pass are told it.
                    reason = _why_dropped(plan, model, digest)
                    self.refusals = {**self.refusals, model: reason}
                    self._drop(model, served)
        refusals: dict[str, str] = {}
        for model, snapshot in plan.routes.items():
            if not self.is_current(snapshot):
                sentence = self._bring_in_line(snapshot, plan)
                if sentence is not None:
                    refusals[model] = sentence
        self.refusals = refusals

    def close(self) -> None:
        """Answer what waits, then stop every engine."""
        for model in {*self.served, *self.incumbents}:
            for served in self.all_served(model):
                served.engine.close()

    def _bring_in_line(self, snapshot: Snapshot, plan: Plan) -> str | None:
        """Serve what a snapshot names; return the sentence that says why not all of it."""
        model, wanted = snapshot.model, snapshot.incumbent
        sentences = []
        incumbent: Served | None = None
        # The incumbent first: it is most often the one that is served already, and it acts.
        if wanted is not None:
            found = self._find(model, wanted.bundle_sha) or self._load(
                model, wanted.bundle_sha, plan
            )
            if isinstance(found, str):
                sentences.append(f"the incumbent: {found}")
            else:
                incumbent = found
        # Before anything is retired: the new incumbent may be the bundle that is served.
        old = self.incumbents.get(model)
        self.incumbents = _with(self.incumbents, model, incumbent)
        routed = self._find(model, snapshot.bundle_sha, old)
        if routed is None:
            loaded = self._load(model, snapshot.bundle_sha, plan)
            routed = None if isinstance(loaded, str) else loaded
            if isinstance(loaded, str):
                sentences.append(loaded)
        before = self.served.get(model)
        if routed is not None:
            self.served = _with(self.served, model, routed)
        self._retire(model, _each([before, old]))
        return "; ".join(sentences) or None

    def _find(self, model: str, digest: str, another: Served | None = None) -> Served | None:
        known = [*self.all_served(model), *_each([another])]
        return next((each for each in known if _is(each, digest)), None)

    def _load(self, model: str, digest: str, plan: Plan) -> Served | str:
        """Load a bundle, or return the sentence that says why not."""
        before = self._refused.get(digest)
        if before is not None and _is_trusted(plan, digest):
            sentence, at = before
            if self._monotonic() - at < RETRY_S:
                return sentence
        begun = time.perf_counter()
        try:
            registered = _registered(plan, digest)
            bundle = bundles.load(self._path(registered), expected_digest=digest)
            _check_identity(bundle, registered, model)
            forward_path = self._open_bundle(bundle)
            warm_up(bundle, forward_path)
            engine = self._make_engine(model, forward_path)
        except Exception as error:
            sentence = str(error) or repr(error)
            if before is None or before[0] != sentence:
                log.error("%s is refused: %s", model, sentence)
            if not isinstance(error, BundleError | BundleUntrusted | OSError):
                log.debug("while loading %s", model, exc_info=True)
            self._refused[digest] = (sentence, self._monotonic())
            return sentence
        self._refused.pop(digest, None)
        took = time.perf_counter() - begun
        log.info("%s %s is loaded (%s…, %.2f s)", model, registered.version, digest[:12], took)
        return Served(bundle, engine, forward_path)

    def _path(self, registered: RegisteredBundle) -> Path:
        path = Path(registered.path)
        return path if path.is_absolute() else self._home / path

    def _drop(self, model: str, served: Served) -> None:
        if self.served.get(model) is served:
            self.served = _with(self.served, model, None)
        if self.incumbents.get(model) is served:
            self.incumbents = _with(self.incumbents, model, None)
        self._retire(model, [served])

    def _retire(self, model: str, replaced: list[Served]) -> None:
        """Close the engines of what is not served any more."""
        kept = self.all_served(model)
        gone = {id(each): each for each in replaced if not any(each is one for one in kept)}
        if not gone:
            return
        # Requests look an engine up and submit to it in one turn of the loop. After another turn
        # none is left that looked the old one up and has not submitted yet.
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        turned.wait(5)
        for each in gone.values():
            each.engine.close()


def _is(served: Served | None, digest: str) -> bool:
    return served is not None and served.bundle.digest == digest


def _each(found: list[Served | None]) -> list[Served]:
    """Leave out what is not there, and what is there twice."""
    return list({id(each): each for each in found if each is not None}.values())


def _with(known: dict[str, Served], model: str, served: Served | None) -> dict[str, Served]:
    others = {name: each for name, each in known.items() if name != model}
    return others if served is None else {**others, model: served}


def warm_up(bundle: Bundle, forward_path: ForwardPath) -> None:
    """Run the model once, so that the first request does not pay for its preparation."""
    shape = bundle.manifest.preprocessing.shape
    forward_path.score(np.zeros((1, *shape), np.float32), ["warm-up"], alone=True)


def _is_trusted(plan: Plan, digest: str) -> bool:
    registered = plan.bundles.get(digest)
    return registered is not None and registered.state is BundleState.TRUSTED


def _why_dropped(plan: Plan, model: str, digest: str) -> str:
    if model not in plan.routes:
        return "its route was removed. Import it again, or publish a route."
    try:
        _registered(plan, digest)
    except BundleUntrusted as error:
        return str(error)
    return "its bundle is being replaced."


def _registered(plan: Plan, digest: str) -> RegisteredBundle:
    registered = plan.bundles.get(digest)
    if registered is None:
        raise BundleUntrusted(digest, "is not registered")
    if registered.state is not BundleState.TRUSTED:
        raise BundleUntrusted(digest, f"was withdrawn by {registered.withdrawn_by}")
    return registered


def _check_identity(bundle: Bundle, registered: RegisteredBundle, model: str) -> None:
    if (bundle.manifest.name, registered.model) != (model, model):
        raise BundleError(
            f"the bundle {bundle.path} is of the model {bundle.manifest.name!r}, and the route of "
            f"{model!r} names it. Publish a route that names a bundle of {model!r}."
        )
