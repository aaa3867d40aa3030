"""The models being served: loaded in the background, verified, swapped in one step.

A routed bundle is served only if its digest is on the trust list and its files are those it was
registered with. Until the next one is ready, and whenever it is refused, the previous one serves
on, unless its own trust was withdrawn.
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
        self._refused: dict[str, tuple[str, str, float]] = {}
        self.served: dict[str, Served] = {}
        """By model; replaced, never changed."""
        self.refusals: dict[str, str] = {}
        """Why a model's routed bundle is not served, one sentence each; replaced, never changed."""

    def is_current(self, snapshot: Snapshot) -> bool:
        """Tell whether the bundle that a snapshot names is the one being served."""
        served = self.served.get(snapshot.model)
        return served is not None and served.bundle.digest == snapshot.bundle_sha

    def reconcile(self, plan: Plan) -> None:
        """Load what is routed and not served; drop what may not be served any more."""
        for model, served in list(self.served.items()):
            digest = served.bundle.digest
            if model not in plan.routes or not _is_trusted(plan, digest):
                log.warning("%s is not served any more: %s…", model, digest[:12])
                # First the reason: requests between here and the end of this pass are told it.
                self.refusals = {**self.refusals, model: _why_dropped(plan, model, digest)}
                self._replace(model, None)
        refusals: dict[str, str] = {}
        for model, snapshot in plan.routes.items():
            if not self.is_current(snapshot):
                sentence = self._load(snapshot, plan)
                if sentence is not None:
                    refusals[model] = sentence
        self.refusals = refusals

    def close(self) -> None:
        """Answer what waits, then stop every engine."""
        for served in self.served.values():
            served.engine.close()

    def _load(self, snapshot: Snapshot, plan: Plan) -> str | None:
        """Serve the snapshot's bundle, or return the sentence that says why not."""
        model, digest = snapshot.model, snapshot.bundle_sha
        before = self._refused.get(model)
        if before is not None and before[0] == digest and _is_trusted(plan, digest):
            _, sentence, at = before
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
            if before is None or before[:2] != (digest, sentence):
                log.error("%s is refused: %s", model, sentence)
            if not isinstance(error, BundleError | BundleUntrusted | OSError):
                log.debug("while loading %s", model, exc_info=True)
            self._refused[model] = (digest, sentence, self._monotonic())
            return sentence
        self._refused.pop(model, None)
        self._replace(model, Served(bundle, engine))
        took = time.perf_counter() - begun
        log.info("%s %s is served (%s…, %.2f s)", model, registered.version, digest[:12], took)
        return None

    def _path(self, registered: RegisteredBundle) -> Path:
        path = Path(registered.path)
        return path if path.is_absolute() else self._home / path

    def _replace(self, model: str, new: Served | None) -> None:
        served = dict(self.served)
        old = served.pop(model, None)
        if new is not None:
            served[model] = new
        self.served = served
        if old is not None:
            # Requests look an engine up and submit to it in one turn of the loop. After another
            # turn none is left that looked the old one up and has not submitted yet.
            turned = threading.Event()
            self._loop.call_soon_threadsafe(turned.set)
            turned.wait(5)
            old.engine.close()


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
