"""The parts of a running gateway, built once and handed to every request."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from inference.body import BodyBudget
from inference.metrics import Metrics
from inference.models import Models
from inference.plan import PlanKeeper
from inference.predicting import Predicting
from inference.recorder import Recorder
from inference.settings import GatewayOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Singletons of the process."""

    options: GatewayOptions
    keeper: PlanKeeper
    models: Models
    recorder: Recorder | None
    """``None`` when recording is switched off."""
    predicting: Predicting
    metrics: Metrics
    budget: BodyBudget
    decoders: ThreadPoolExecutor
