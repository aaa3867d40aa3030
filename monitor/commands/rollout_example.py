"""`fieldwatch rollout example`: a commented plan to begin from."""

import sys
from importlib.resources import files

from monitor.commands.screen import print_json
from monitor.errors import OptionInvalid
from monitor.rollouts.lint_purpose import NAME


def run(*, model: str | None, as_json: bool) -> int:
    """Print the plan, for a model of another name if one is given."""
    text = example_plan() if model is None else _of(model)
    if as_json:
        print_json({"plan": text})
    else:
        sys.stdout.write(text)
    return 0


def example_plan() -> str:
    """Read the example, about a model of bears."""
    return files("monitor.commands").joinpath("example_rollout.yaml").read_text(encoding="utf-8")


def _of(model: str) -> str:
    if not NAME.fullmatch(model):
        way_out = "use up to 64 letters, digits, dots, dashes and underscores"
        raise OptionInvalid("--model", model, way_out)
    text = example_plan().replace("bears_rollout.yaml", f"{model}_rollout.yaml")
    text = text.replace("rollout: bears-v7\n", f'rollout: "{model}-v7"\n', 1)
    return text.replace("model: bears\n", f'model: "{model}"\n', 1)
