"""The compose file: each path, port, command, variable and secret in it is one that there is."""

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from benchmarks.compose_file import COMPOSE, ROOT, SECRETS, Service, document, service, services
from inference.settings import GatewayOptions, GatewaySettings
from monitor.cli import app
from monitor.settings import MonitorOptions, MonitorSettings
from monitor.store.settings import load_settings
from tests.dashboards.stages import lineage

OURS = [each for each in services() if each.ours]
AT_WORK = {"gateway-1", "gateway-2", "monitor-1", "monitor-2"}
AWAITED_END = {
    name
    for each in services()
    for name, state in each.waits_for.items()
    if state == "service_completed_successfully"
}
"""Services that do one thing and end: nobody asks whether they are well."""


def named(each: Service) -> str:
    return each.name


def test_it_is_what_the_specification_asks_for() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(COMPOSE)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_holds_all_that_is_needed_and_two_of_each_of_ours() -> None:
    names = {each.name for each in services()}
    assert names >= AT_WORK | {"postgres", "prometheus", "alertmanager", "grafana"}
    assert {"db-upgrade", "first-keys"} == AWAITED_END


@pytest.mark.parametrize("each", services(), ids=named)
def test_nobody_has_rights_a_root_to_write_or_all_of_the_machine(each: Service) -> None:
    keys = each.keys
    assert keys["read_only"] is True
    assert keys["cap_drop"] == ["ALL"]
    assert keys["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode"} & set(keys)
    assert int(keys["user"].split(":")[0]) > 0
    limits = keys["deploy"]["resources"]["limits"]
    assert 0 < float(limits["cpus"]) <= 2, "an engine refuses more than the machine has"
    assert re.fullmatch(r"\d+[mg]", limits["memory"])
    assert limits["pids"] > 0
    assert keys["restart"]
    assert all(address == "127.0.0.1" for address, _, _ in each.ports)


@pytest.mark.parametrize("each", services(), ids=named)
def test_every_service_that_stays_is_asked_whether_it_is_well(each: Service) -> None:
    if each.name in AWAITED_END or "profiles" in each.keys:
        assert "healthcheck" not in each.keys
        return
    check = each.keys["healthcheck"]
    assert check["test"][0] == "CMD"
    asked = re.search(r"127\.0\.0\.1:(\d+)", " ".join(check["test"]))
    inside = {inside for _, _, inside in each.ports}
    assert (asked is None and each.name == "postgres") or (asked and int(asked[1]) in inside)


@pytest.mark.parametrize("each", services(), ids=named)
def test_every_image_is_pinned(each: Service) -> None:
    name, _, tag = each.keys["image"].partition(":")
    assert re.match(r"v?\d+\.\d+", tag), name
    if each.ours:
        project = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
        assert project is not None
        assert (name, tag) == (f"fieldwatch-{each.keys['build']['target']}", project[1])


def test_every_mounted_path_is_in_the_repository_or_a_volume() -> None:
    volumes = set(document()["volumes"])
    sources = {source for each in services() for source, _ in each.mounts}
    paths = {source for source in sources if source.startswith(".")}
    assert paths, "nothing of the repository is mounted"
    for path in paths:
        assert (ROOT / path).exists(), path
    assert sources - paths == volumes


def test_the_file_of_each_config_named_in_a_command_is_mounted() -> None:
    seen = 0
    for each in services():
        for flag in each.command:
            if flag.startswith("--config.file="):
                place = Path(flag.partition("=")[2])
                [source] = [s for s, target in each.mounts if Path(target) in place.parents]
                assert (ROOT / source / place.name).is_file()
                seen += 1
    assert seen == 2


def test_grafana_has_every_board_where_it_looks_for_them() -> None:
    mounts = {target: source for source, target in service("grafana").mounts}
    told = ROOT / mounts["/etc/grafana/provisioning"] / "dashboards" / "fieldwatch.yml"
    [provider] = yaml.safe_load(told.read_text())["providers"]
    folder = Path(provider["options"]["path"])
    boards = {Path(source).name for to, source in mounts.items() if Path(to).parent == folder}
    assert boards == {path.name for path in (ROOT / "dashboards" / "grafana").glob("*.json")}
    sources = yaml.safe_load((told.parents[1] / "datasources" / "prometheus.yml").read_text())
    [inside] = [inside for _, _, inside in service("prometheus").ports]
    assert sources["datasources"][0]["url"] == f"http://prometheus:{inside}"


def test_a_monitor_has_room_for_a_report_in_the_making() -> None:
    for name in ("monitor-1", "monitor-2"):
        [gibibytes] = re.findall(
            r"^(\d+)g$", service(name).keys["deploy"]["resources"]["limits"]["memory"]
        )
        assert int(gibibytes) * 1024 >= MonitorOptions().reports.memory_mb + 1024


def test_gateways_share_the_home_and_no_spool_name_or_address() -> None:
    gateways = [each for each in OURS if each.command == ["gateway"]]
    assert len(gateways) == 2
    for key in ("FIELDWATCH_GATEWAY__ID", "FIELDWATCH_GATEWAY__URL"):
        assert len({each.environment[key] for each in gateways}) == 2
    home = gateways[0].environment["FIELDWATCH_HOME"]
    spools = [source for each in gateways for source, to in each.mounts if to == f"{home}/spool"]
    assert len(set(spools)) == 2
    assert all(("home", home) in each.mounts for each in OURS)
    for each in gateways:
        assert each.environment["FIELDWATCH_GATEWAY__URL"] == f"http://{each.name}:8000"


@pytest.fixture
def _variables(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Set a service's variables, its secrets lying in a folder of the test's."""
    each: Service = request.param
    monkeypatch.chdir(tmp_path)
    for secret in each.secrets:
        (tmp_path / secret).write_text("0123456789abcdef" * 4)
    for name, value in each.environment.items():
        monkeypatch.setenv(name, value.replace(SECRETS, f"{tmp_path}/"))


@pytest.mark.parametrize(
    ("_variables", "each"), [(each, each) for each in OURS], ids=named, indirect=["_variables"]
)
@pytest.mark.usefixtures("_variables")
def test_every_variable_is_a_setting_and_every_address_a_service(each: Service) -> None:
    settings = load_settings(MonitorSettings, None)
    url = make_url(settings.store.database)
    database = service("postgres").environment
    assert (url.host, url.username) == ("postgres", database["POSTGRES_USER"])
    assert url.database == database["POSTGRES_DB"]
    assert url.password is None
    assert settings.store.database_password is not None
    places: dict[str, GatewayOptions | MonitorOptions] = {
        "gateway": load_settings(GatewaySettings, None).gateway,
        "monitor": settings.monitor,
    }
    listening = places.get(each.command[0])
    if listening is not None:
        assert listening.host == "0.0.0.0"
        assert [inside for _, _, inside in each.ports] == [listening.port]
    for name, value in each.environment.items():
        if value.startswith("http://"):
            host, _, port = value.removeprefix("http://").partition(":")
            assert int(port) in {inside for _, _, inside in service(host).ports}, name
            assert set(service(host).keys["networks"]) & set(each.keys["networks"])


@pytest.mark.parametrize("each", OURS, ids=named)
def test_every_command_of_ours_is_understood(
    each: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, dict[str, Any]]] = []

    def instead(module: str) -> SimpleNamespace:
        assert importlib.util.find_spec(module) is not None, module
        return SimpleNamespace(run=lambda **arguments: ran.append((module, arguments)))

    monkeypatch.setattr(importlib, "import_module", instead)
    app(each.command, standalone_mode=False)
    if "--help" in each.command:
        return
    [(_, arguments)] = ran
    for person, role, file in arguments.get("files", []):
        assert (person, role) in {
            ("admin", "admin"),
            ("prometheus", "viewer"),
            ("alertmanager", "service"),
        }
        assert str(file).removeprefix(SECRETS) in each.secrets


def test_every_secret_is_made_by_make_and_used_and_read_from_its_file(tmp_path: Path) -> None:
    declared = document()["secrets"]
    subprocess.run(
        ["make", "--file", str(ROOT / "Makefile"), "secrets"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    made = {f"./secrets/{path.name}": path.read_text() for path in tmp_path.glob("secrets/*")}
    assert {each["file"] for each in declared.values()} == set(made)
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in made.values())
    assert len(set(made.values())) == len(made)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {name for each in services() for name in each.secrets} == set(declared)
    for each in services():
        told = " ".join([*each.command, *each.environment.values()])
        assert set(re.findall(rf"{SECRETS}(\w+)", told)) <= set(each.secrets), each.name
        for name, value in each.environment.items():
            if re.search("PASSWORD|KEY|TOKEN", name):
                assert name.endswith("_FILE"), name
                assert value.startswith(SECRETS)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("prometheus", "prometheus/prometheus.yml"),
        ("alertmanager", "alertmanager/alertmanager.yml"),
    ],
)
def test_what_configurations_read_from_secrets_is_given_to_them(name: str, file: str) -> None:
    text = re.sub(r"^\s*#.*$", "", (ROOT / "dashboards" / file).read_text(), flags=re.M)
    assert set(re.findall(rf"{SECRETS}(\w+)", text)) == set(service(name).secrets)


def test_prometheus_and_alertmanager_find_everybody() -> None:
    def targets(job: str) -> set[str]:
        file = ROOT / "dashboards" / "prometheus" / "targets" / f"{job}.yml"
        return {target for group in yaml.safe_load(file.read_text()) for target in group["targets"]}

    def running(command: str) -> set[str]:
        return {f"{e.name}:{e.ports[0][2]}" for e in OURS if e.command == [command]}

    assert targets("gateway") == running("gateway")
    assert targets("monitor") == running("monitor")
    assert targets("alertmanager") == {f"alertmanager:{service('alertmanager').ports[0][2]}"}
    config = yaml.safe_load((ROOT / "dashboards/alertmanager/alertmanager.yml").read_text())
    for receiver in config["receivers"]:
        told = {hook["url"].split("/")[2] for hook in receiver["webhook_configs"]}
        assert told == running("monitor")


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_servers_listen_where_they_are_looked_for(name: str) -> None:
    [place] = [f for f in service(name).command if f.startswith("--web.listen-address=")]
    assert [inside for _, _, inside in service(name).ports] == [int(place.rpartition(":")[2])]


def test_the_schema_is_upgraded_once_before_anybody_works() -> None:
    upgrading = [each.name for each in services() if each.command == ["db", "upgrade"]]
    assert upgrading == ["db-upgrade"]
    assert service("db-upgrade").waits_for == {"postgres": "service_healthy"}
    for each in OURS:
        before, seen = [each.name], set()
        while before:
            name = before.pop()
            seen.add(name)
            before += service(name).waits_for
        assert {"db-upgrade", "postgres"} <= seen, each.name


def test_no_two_services_want_one_port() -> None:
    outside = [outside for each in services() for _, outside, _ in each.ports]
    assert len(outside) == len(set(outside))


def test_health_is_asked_as_in_the_image() -> None:
    for each in OURS:
        if each.name in AT_WORK:
            image = next(iter(lineage(each.keys["build"]["target"])))
            [told] = image.all("HEALTHCHECK")
            asked = told.partition("CMD ")[2]
            assert yaml.safe_load(asked) == each.keys["healthcheck"]["test"][1:]
