"""The compose file's services as plain processes: the same words, and no place that is not here."""

from pathlib import Path

import pytest

from benchmarks.compose_file import service, services
from benchmarks.composed_places import HERE, Places

DATABASE = "postgresql://fieldwatch@localhost/fieldwatch?host=/tmp/socket"
RUNNING = [each for each in services() if each.ours or each.name in {"prometheus", "alertmanager"}]
ELSEWHERE = ("/run/secrets", "0.0.0.0", "@postgres:", "gateway-1:", "monitor-2:", "alertmanager:9")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places.make(tmp_path_factory.mktemp("places"), DATABASE)


def test_every_service_keeps_its_words_and_variables(places: Places) -> None:
    for each in RUNNING:
        assert len(places.command(each)) == len(each.command)
        assert places.environment(each).keys() == each.environment.keys()
    assert places.command(service("gateway-1")) == ["gateway"]
    assert "--enable-feature=exemplar-storage" in places.command(service("prometheus"))


def test_every_place_becomes_one_of_this_machine(places: Places) -> None:
    for each in RUNNING:
        told = [*places.command(each), *places.environment(each).values()]
        assert not [word for word in told for place in ELSEWHERE if place in word], each.name
    for file in places.folder.rglob("*.yml"):
        code = [line.partition("#")[0] for line in file.read_text().splitlines()]
        assert not [line for line in code for place in ELSEWHERE if place in line], file


def test_everybody_listens_where_the_others_look(places: Places) -> None:
    variables = places.environment(service("gateway-2"))
    assert variables["FIELDWATCH_GATEWAY__HOST"] == HERE
    assert variables["FIELDWATCH_GATEWAY__PORT"] == str(places.ports["gateway-2"])
    assert variables["FIELDWATCH_GATEWAY__URL"] == places.url("gateway-2")
    targets = places.path("prometheus", "/etc/prometheus") / "targets" / "gateway.yml"
    assert f"{HERE}:{places.ports['gateway-2']}" in targets.read_text()
    assert variables["FIELDWATCH_STORE__DATABASE_URL"] == DATABASE
    assert len(set(places.ports.values())) == len(places.ports)


def test_a_flag_names_a_folder_that_is_there(places: Places) -> None:
    [config, storage] = [
        Path(word.partition("=")[2])
        for word in places.command(service("prometheus"))
        if word.startswith(("--config.file=", "--storage.tsdb.path="))
    ]
    assert config.is_file()
    assert storage.is_dir()
