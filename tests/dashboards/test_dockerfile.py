"""The images: built of what is here, with the versions that are tested, as nobody in particular."""

import re

import pytest

from benchmarks.compose_file import ROOT, services
from inference.settings import GatewayOptions
from monitor.settings import MonitorOptions
from tests.dashboards.stages import copied, lineage, stages

TARGETS = ("serve", "monitor", "train")


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_targets_are_those_that_are_asked_for() -> None:
    wanted = {each.keys["build"]["target"] for each in services() if each.ours}
    assert wanted == set(TARGETS)
    assert wanted <= set(stages())


def test_all_that_is_copied_is_here_and_let_through() -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    paths = {path for stage in stages().values() for path in copied(stage)}
    assert paths == let_through
    for path in paths:
        assert (ROOT / path).exists(), path


def test_every_copy_between_stages_is_from_one_that_there_is() -> None:
    for stage in stages().values():
        for line in stage.all("COPY"):
            if line.startswith("--from="):
                assert line.removeprefix("--from=").split()[0] in stages()


def test_every_base_is_a_stage_or_pinned() -> None:
    outside = {stage.base for stage in stages().values()} - set(stages())
    assert len(outside) == 1
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base) for base in outside)


def test_tools_that_build_are_those_of_the_tests() -> None:
    tested = pins("requirements.txt")
    [line] = [run for run in stages()["tools"].all("RUN") if "pip install" in run]
    built_with = dict(re.findall(r"(\S+)==(\S+)", line))
    assert set(built_with) == {"uv", "setuptools"}
    assert built_with.items() <= tested.items()


@pytest.mark.parametrize("target", TARGETS)
def test_images_hold_the_versions_that_the_tests_ran_with(target: str) -> None:
    held = pins(f"requirements-{target}.txt")
    assert held.items() <= pins("requirements.txt").items()
    assert (f"requirements-{target}.txt") in copied(stages()[f"{target}-environment"])
    assert ("torch" in held) is (target == "train")
    assert ("evidently" in held) is (target == "monitor")
    assert "pandas" not in held or target != "serve"
    assert not {"pytest", "mypy", "ruff", "hypothesis"} & set(held)


@pytest.mark.parametrize("target", TARGETS)
def test_what_runs_is_nobody_in_particular_on_the_port_of_the_settings(target: str) -> None:
    chain = list(lineage(target))
    assert "tools" not in {stage.name for stage in chain}
    users = [user for stage in chain for user in stage.all("USER")]
    assert users == [
        next(each.keys["user"] for each in services() if each.keys["image"].find(target) > 0)
    ]
    exposed = [int(port) for port in chain[0].all("EXPOSE")]
    ports = {"serve": [GatewayOptions().port], "monitor": [MonitorOptions().port], "train": []}
    assert exposed == ports[target]
    assert [entry for stage in chain for entry in stage.all("ENTRYPOINT")] == ['["fieldwatch"]']
    assert chain[0].all("HEALTHCHECK")


def test_the_home_of_the_image_is_the_one_that_volumes_are_for() -> None:
    told = " ".join(stages()["runtime"].all("ENV"))
    [home] = re.findall(r"FIELDWATCH_HOME=(\S+)", told)
    assert {e.environment["FIELDWATCH_HOME"] for e in services() if e.ours} == {home}


def test_no_secret_is_in_an_image() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"^(ARG|ENV).*(PASSWORD|KEY|TOKEN|SECRET)", text, re.M)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
