"""A store on each database; for PostgreSQL a private server of the test run."""

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from app.store.store import Store
from app.store.tables import metadata
from backends.model import Feature, Model

START_SECONDS = 120


class PostgresServer:
    """A server with one administrator, reachable only through its own folder."""

    def __init__(self, binaries: Path, folder: Path):
        self._folder = folder
        self._numbers = itertools.count()
        account = unprivileged_account()
        if account:
            shutil.chown(folder, account["user"], account["group"])
        data = folder / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "admin", "-A", "trust"]
            + ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **account,
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": folder,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "32MB",
            # Times read in another zone than they were written in.
            "timezone": "Asia/Kolkata",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *options],
                stderr=log,
                cwd=folder,
                preexec_fn=end_with_parent,
                **account,
            )
        self._wait_until_ready()

    def url(self, database: str) -> str:
        return f"postgresql://admin@/{database}?host={self._folder}"

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"foretell_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    log = (self._folder / "log").read_text()
                    raise RuntimeError(f"PostgreSQL does not start: {log}") from error
                time.sleep(0.05)
            else:
                return


def unprivileged_account() -> dict:
    """Whom the server runs as, for Popen; PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    names = {each.pw_name for each in pwd.getpwall()}
    account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def end_with_parent() -> None:
    # A killed test run leaves no server behind. 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def find_postgres() -> Path | None:
    """The folder that holds the server's programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if shutil.which("pg_config"):
        asked = subprocess.run(
            ["pg_config", "--bindir"], check=True, capture_output=True, text=True
        )
        folders.insert(0, Path(asked.stdout.strip()))
    if found := shutil.which("postgres"):
        folders.append(Path(found).parent)
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    return None


@pytest.fixture(scope="session")
def postgres():
    binaries = find_postgres()
    if binaries is None:
        reason = "no PostgreSQL server found: install the package postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not in pytest's folder: only its owner may enter that one, and the path of a
    # socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="foretell-postgres-"))
    server = PostgresServer(binaries, folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, home):
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{home / 'foretell.db'}"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def empty_store(empty_url, home):
    """A store that was not migrated yet."""
    store = Store(empty_url, home)
    yield store
    store.dispose()


@pytest.fixture(scope="session")
def migrated_postgres(postgres, tmp_path_factory):
    url = postgres.new_database()
    migrate(url, tmp_path_factory.mktemp("home"))
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    migrate(f"sqlite:///{folder / 'foretell.db'}", folder)
    return folder / "foretell.db"


def migrate(url, home):
    store = Store(url, home)
    store.migrate()
    store.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, home):
    """The URL of a database with all tables and nothing in them."""
    home.mkdir()
    if request.param == "sqlite":
        file = request.getfixturevalue("migrated_sqlite")
        shutil.copyfile(file, home / "foretell.db")
        return f"sqlite:///{home / 'foretell.db'}"
    url = request.getfixturevalue("migrated_postgres")
    # Faster than TRUNCATE, which makes new files.
    with psycopg.connect(url) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(f"DELETE FROM {table.name}")
        connection.execute("INSERT INTO generation VALUES (1, 0)")
    return url


@pytest.fixture
def store(database_url, home):
    store = Store(database_url, home)
    yield store
    store.dispose()


@pytest.fixture
def in_child():
    """Tells whether a function is true in a forked process."""

    def ask(function):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if function() else 1
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return ask


@pytest.fixture
def model():
    return Model(
        id="ab" * 12,
        name="penguins: sex",
        format="lightgbm",
        file="model.txt",
        task="binary",
        target="sex",
        features=(Feature("bill", "numeric"),),
        labels=("female", "male"),
        positive_label="male",
    )
