"""Settings: variables over file over defaults, and nothing unknown passes."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from monitor.errors import SettingsInvalid
from monitor.store.engine import connect
from monitor.store.settings import ProcessSettings, StoreSettings, load_settings


class GatewayTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = 8000
    host: str = "127.0.0.1"


class Settings(ProcessSettings):
    gateway: GatewayTable = GatewayTable()


@pytest.fixture(autouse=True)
def _clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "CONFIG", "KEY", "URL"):
        monkeypatch.delenv(f"FIELDWATCH_{name}", raising=False)


def _file(tmp_path: Path, text: str, name: str = "my.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_without_any_source_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(Settings, None)
    assert settings.store.home == tmp_path / ".fieldwatch"
    assert settings.store.database == f"sqlite:///{tmp_path}/.fieldwatch/state.db"
    assert settings.store.events == str(tmp_path / ".fieldwatch" / "events")
    assert settings.gateway.port == 8000


def test_a_variable_is_stronger_than_the_file_and_the_file_than_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, '[gateway]\nport = 1\nhost = "::1"\n[store]\nevents_url = "s3://b"\n')
    monkeypatch.setenv("FIELDWATCH_GATEWAY__PORT", "2")
    settings = load_settings(Settings, path)
    assert (settings.gateway.port, settings.gateway.host) == (2, "::1")
    assert settings.store.events == "s3://b"


def test_the_file_is_found_by_variable_or_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, "[gateway]\nport = 1\n", "fieldwatch.toml")
    assert load_settings(Settings, None).gateway.port == 1
    monkeypatch.setenv("FIELDWATCH_CONFIG", str(_file(tmp_path, "[gateway]\nport = 2\n")))
    assert load_settings(Settings, None).gateway.port == 2
    named = _file(tmp_path, "[gateway]\nport = 3\n", "named.toml")
    assert load_settings(Settings, named).gateway.port == 3


def test_the_home_has_a_short_variable_and_the_long_one_is_stronger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, '[store]\nhome = "/file"\nevents_url = "s3://b"\n')
    monkeypatch.setenv("FIELDWATCH_HOME", "/short")
    settings = load_settings(Settings, path)
    assert settings.store.home == Path("/short")
    assert settings.store.events == "s3://b"
    monkeypatch.setenv("FIELDWATCH_STORE__HOME", "/long")
    assert load_settings(Settings, path).store.home == Path("/long")


def test_the_tables_of_other_processes_are_left_to_them(tmp_path: Path) -> None:
    load_settings(Settings, _file(tmp_path, "[monitor]\nanything = 1\n"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[gateway]\nprot = 1\n", r"gateway\.prot: unknown key; did you mean port\?"),
        ("[store]\nhmoe = 1\n", r"store\.hmoe: unknown key; did you mean home\?"),
        ("[gatway]\nport = 1\n", r"\[gatway\]: no such table; did you mean gateway\?"),
        ('[gateway]\nport = "x"\n', r"gateway\.port: .*integer"),
        ("port = 1\n", r"\[port\]: no such table"),
        ("[gateway\n", "is not TOML"),
    ],
)
def test_a_fault_in_the_file_is_named_with_the_way_out(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(SettingsInvalid, match=sentence) as caught:
        load_settings(Settings, path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("FIELDWATCH_GATEWAY__PROT", r"gateway\.prot: unknown key; did you mean port\?"),
        ("FIELDWATCH_GATWAY__PORT", "FIELDWATCH_GATWAY__PORT: no such variable"),
        ("FIELDWATCH_HOEM", r"FIELDWATCH_HOEM: no such variable; did you mean FIELDWATCH_HOME\?"),
    ],
)
def test_a_variable_nobody_knows_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsInvalid, match=sentence):
        load_settings(Settings, None)


@pytest.mark.parametrize("name", ["FIELDWATCH_KEY", "FIELDWATCH_URL", "FIELDWATCH_DATA"])
def test_what_clients_and_benchmarks_read_may_be_set_beside_the_settings(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "anything")
    load_settings(Settings, None)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"No such file"):
        load_settings(Settings, tmp_path / "gone.toml")


def test_passwords_do_not_show(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        '[store]\ndatabase_url = "postgresql://u:hush@h/d"\nevents_options = {secret = "hush"}\n',
    )
    store: StoreSettings = load_settings(Settings, path).store
    assert "hush" not in repr(store)
    assert "hush" in store.database
    assert store.storage_options == {"secret": "hush"}


def test_a_variable_may_name_a_file_that_holds_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, password = tmp_path / "url", tmp_path / "password"
    url.write_text("postgresql://fieldwatch@db/fieldwatch\n")
    password.write_text("hu/sh@\n")
    monkeypatch.setenv("FIELDWATCH_STORE__DATABASE_URL_FILE", str(url))
    monkeypatch.setenv("FIELDWATCH_STORE__DATABASE_PASSWORD_FILE", str(password))
    monkeypatch.setenv("FIELDWATCH_GATEWAY__PORT_FILE", str(_file(tmp_path, "7", "port")))
    settings = load_settings(Settings, _file(tmp_path, "[gateway]\nport = 1\n"))
    assert settings.gateway.port == 7
    assert "hu/sh@" not in repr(settings)
    engine = connect(settings.store)
    assert engine.url.password == "hu/sh@"
    assert engine.url.host == "db"
    engine.dispose()


def test_every_secret_file_that_cannot_be_used_is_named_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDWATCH_STORE__DATABASE_URL_FILE", str(tmp_path / "gone"))
    monkeypatch.setenv("FIELDWATCH_GATEWAY__HOST_FILE", str(_file(tmp_path, " \n", "empty")))
    monkeypatch.setenv("FIELDWATCH_GATEWAY__PORT_FILE", str(_file(tmp_path, "7", "port")))
    monkeypatch.setenv("FIELDWATCH_GATEWAY__PORT", "8")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(Settings, None)
    told = "\n".join(caught.value.faults)
    assert "FIELDWATCH_STORE__DATABASE_URL_FILE: the file" in told
    assert "No such file" in told
    assert "is empty" in told
    assert "FIELDWATCH_GATEWAY__PORT is set too" in told


def test_a_file_for_an_unknown_key_is_an_error_like_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDWATCH_GATEWAY__PORTS_FILE", str(_file(tmp_path, "7", "port")))
    with pytest.raises(SettingsInvalid, match=r"gateway\.ports: unknown key; did you mean port"):
        load_settings(Settings, None)


def test_a_password_for_no_database_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDWATCH_STORE__DATABASE_PASSWORD", "hush")
    with pytest.raises(SettingsInvalid, match="no database_url"):
        load_settings(Settings, None)
