"""Where state, events and files live, and how every process reads its settings.

Sources, the strongest first: ``FIELDWATCH_*`` variables (``FIELDWATCH_GATEWAY__PORT`` is the key
``port`` of the table ``[gateway]``), then one TOML file (``--config``, else ``FIELDWATCH_CONFIG``,
else ``./fieldwatch.toml`` if there is one), then the defaults. ``FIELDWATCH_HOME`` is short for
``FIELDWATCH_STORE__HOME``, and a variable that ends in ``_FILE`` names a file that holds the value
(`monitor.store.secret_files`). Each process reads its own tables; a key that nobody knows is an
error that names it.
"""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from typing_extensions import override

from monitor.errors import SettingsInvalid
from monitor.store.secret_files import FromFiles, names_a_file, read_files

TABLES = frozenset({"store", "gateway", "monitor"})
"""Every table a settings file may have; a process ignores the ones it does not use."""

PREFIX = "FIELDWATCH_"
OUTSIDE = frozenset({"HOME", "CONFIG", "KEY", "URL", "DATA"})
"""Variables that belong to no table: the home, this file, a client's key and address, and where the
benchmarks find their photos."""


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class StoreSettings(BaseModel):
    """Where the state, the events and the files of an installation live."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Annotated[Path, AfterValidator(_absolute)] = Field(
        default_factory=lambda: _absolute(Path(".fieldwatch"))
    )
    """Folder of everything local; made on first start."""
    database_url: SecretStr | None = None
    """PostgreSQL by URL; SQLite in `home` when absent. Secret, for it may hold a password."""
    database_password: SecretStr | None = None
    """Password for `database_url`, instead of the one in it."""
    events_url: str | None = None
    """The events table: a folder or an object store's URL; ``events`` in `home` when absent."""
    events_options: dict[str, SecretStr] = {}
    """Credentials and options of the object store, as `deltalake` names them."""

    @model_validator(mode="after")
    def _password_has_a_database(self) -> "StoreSettings":
        if self.database_password is not None and self.database_url is None:
            raise ValueError("database_password: there is no database_url that it could be for")
        return self

    @property
    def database(self) -> str:
        """The database's URL; a `database_password` is not in it yet."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'state.db'}"

    @property
    def events(self) -> str:
        """Where the events table is."""
        return self.events_url or str(self.home / "events")

    @property
    def storage_options(self) -> dict[str, str]:
        """`events_options` in the clear, for the one call that needs them."""
        return {key: value.get_secret_value() for key, value in self.events_options.items()}

    @property
    def bundles(self) -> Path:
        """Folder of imported bundles."""
        return self.home / "bundles"

    @property
    def payloads(self) -> Path:
        """Folder of the small pictures that are kept of inputs."""
        return self.home / "payloads"

    @property
    def reports(self) -> Path:
        """Folder of Evidently's reports."""
        return self.home / "reports"

    @property
    def spool(self) -> Path:
        """Folder with one spool per gateway."""
        return self.home / "spool"

    @property
    def key_file(self) -> Path:
        """The admin key made on first start."""
        return self.home / "admin.key"

    @property
    def kill_file(self) -> Path:
        """When this file exists, humans act, database or not."""
        return self.home / "KILL"


class _HomeVariable(PydanticBaseSettingsSource):
    """``FIELDWATCH_HOME``, where ``FIELDWATCH_STORE__HOME`` does not say otherwise."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        home = os.environ.get(f"{PREFIX}HOME")
        return {"store": {"home": home}} if home else {}


class _Variables(EnvSettingsSource):
    """``FIELDWATCH_*`` variables, with the contents of the files that some of them name."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        values = {name.lower(): value for name, value in _from_files().values.items()}
        given = {name: v for name, v in self.env_vars.items() if not _is_file_of_ours(name)}
        self.env_vars = {**given, **values}


class ProcessSettings(BaseSettings):
    """What every process is configured by; each adds the table of its own name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    store: StoreSettings = Field(default_factory=StoreSettings)

    @override
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What `load_settings` passes in is the file, and variables are stronger than the file.
        return (_Variables(settings_cls), _HomeVariable(settings_cls), init_settings)


S = TypeVar("S", bound=ProcessSettings)


def load_settings(model_cls: type[S], config: Path | None) -> S:
    """Read a process's settings once, from variables, the file and the defaults.

    Parameters
    ----------
    model_cls
        The process's settings: `ProcessSettings` with a field per table it uses.
    config
        The file named on the command line, if one was.

    Raises
    ------
    SettingsInvalid
        A named file cannot be read, or a key or value is not understood.
    """
    path = _find(config)
    document = {} if path is None else _read(path)
    faults = [
        f"[{table}]: no such table{_suggest(table, TABLES)}" for table in document.keys() - TABLES
    ]
    faults += [*_unknown_variables(), *_from_files().faults]
    if faults:
        raise SettingsInvalid(sorted(faults), path)
    mine = {table: keys for table, keys in document.items() if table in model_cls.model_fields}
    try:
        return model_cls(**mine)
    except ValidationError as error:
        raise SettingsInvalid(_describe(error, model_cls), path) from error


def _find(config: Path | None) -> Path | None:
    named = config or (Path(value) if (value := os.environ.get(f"{PREFIX}CONFIG")) else None)
    if named is not None:
        return named
    found = Path("fieldwatch.toml")
    return found if found.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid([f"the file cannot be read: {error.strerror}"], path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid([f"the file is not TOML: {error}"], path) from error


def _from_files() -> FromFiles:
    ours = {name: v for name, v in os.environ.items() if name.upper().startswith(PREFIX)}
    return read_files(ours)


def _is_file_of_ours(variable: str) -> bool:
    return variable.upper().startswith(PREFIX) and names_a_file(variable)


def _unknown_variables() -> list[str]:
    faults = []
    for variable in os.environ:
        if not variable.upper().startswith(PREFIX):
            continue
        table, separator, _ = variable.upper().removeprefix(PREFIX).partition("__")
        if separator and table.lower() in TABLES:
            continue
        if not separator and table in OUTSIDE:
            continue
        known = {f"{PREFIX}{name}" for name in OUTSIDE}
        faults.append(f"{variable}: no such variable{_suggest(variable, known)}")
    return faults


def _describe(error: ValidationError, model_cls: type[ProcessSettings]) -> list[str]:
    faults = []
    for fault in error.errors(include_input=False):
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            table, key = str(fault["loc"][0]), str(fault["loc"][-1])
            keys = _keys_of(model_cls, table)
            faults.append(f"{where}: unknown key{_suggest(key, keys)}")
        else:
            faults.append(f"{where}: {fault['msg']}")
    return faults


def _keys_of(model_cls: type[ProcessSettings], table: str) -> set[str]:
    field = model_cls.model_fields.get(table)
    annotation = field.annotation if field is not None else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return set(annotation.model_fields)
    return set()


def _suggest(word: str, known: "set[str] | frozenset[str]") -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""
