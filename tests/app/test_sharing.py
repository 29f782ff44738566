"""Servers share bundles and what was compiled of them through a store."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.batch.models import open_model
from app.config import Config
from app.errors import ModelUnavailable
from app.services import Services
from app.sharing import bundles_of, compiled_of, share_all
from app.store import tars
from app.store.errors import (
    InvalidStoreUrl,
    InvalidTar,
    StoreUnreachable,
    UnknownModel,
)
from app.store.files import Files, open_files
from backends import bundle, compiled
from backends.bundle import BundleRejected
from tests.specimens import Specimen, compile_specimen

ROOT = Path(__file__).parents[2]


class Home:
    """One server's state folder, and what all of them share."""

    def __init__(self, home: Path, url: str) -> None:
        self.config = Config(home=home, store_url=url)
        self.files: Files = open_files(url)
        self.bundles = bundles_of(self.config, self.files)
        self.compiled = compiled_of(self.config, self.files)


@pytest.fixture(params=["folder", "objects"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return (tmp_path / "shared").as_uri()
    found: str = request.getfixturevalue("bucket")
    return f"{found}/below"


@pytest.fixture
def one(tmp_path: Path, url: str) -> Home:
    return Home(tmp_path / "one", url)


@pytest.fixture
def other(tmp_path: Path, url: str) -> Home:
    return Home(tmp_path / "other", url)


@pytest.fixture
def churn(specimens: dict[str, Specimen]) -> Specimen:
    return specimens["churn"]


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_bundle_of_one_server_is_on_the_other(one: Home, other: Home, churn: Specimen):
    one.bundles.put(churn.folder, churn.model.id)
    found = other.bundles.path(churn.model.id)
    assert found == other.config.home / "bundles" / churn.model.id
    assert everything(found) == everything(churn.folder)
    assert [each.name for each in found.parent.iterdir()] == [churn.model.id]


def test_object_is_the_bundle_as_it_is_packed(
    one: Home, churn: Specimen, tmp_path: Path
):
    one.bundles.put(churn.folder, churn.model.id)
    bundle.pack(churn.folder, tmp_path / "packed.tar")
    shared = one.files.read(f"bundles/{churn.model.id}.tar")
    assert shared == (tmp_path / "packed.tar").read_bytes()


def test_model_that_nobody_shares_is_unknown(other: Home):
    with pytest.raises(UnknownModel):
        other.bundles.path("ab" * 12)
    assert list((other.config.home / "bundles").iterdir()) == []


def test_other_bundle_of_that_name_is_refused(
    one: Home, other: Home, churn: Specimen, specimens: dict[str, Specimen]
):
    one.bundles.put(churn.folder, churn.model.id)
    one.files.write(
        f"bundles/{specimens['plan'].model.id}.tar",
        one.files.read(f"bundles/{churn.model.id}.tar"),
    )
    with pytest.raises(BundleRejected, match=f"has model {churn.model.id}"):
        other.bundles.path(specimens["plan"].model.id)
    assert not other.bundles.has(specimens["plan"].model.id)


@pytest.mark.parametrize("keep", [0, 700, -1])
def test_tar_that_is_cut_short_is_refused(
    one: Home, other: Home, churn: Specimen, keep: int
):
    one.bundles.put(churn.folder, churn.model.id)
    path = f"bundles/{churn.model.id}.tar"
    whole = one.files.read(path).rstrip(b"\0")
    one.files.write(path, whole[: keep if keep >= 0 else len(whole) // 2])
    with pytest.raises(BundleRejected):
        other.bundles.path(churn.model.id)
    assert list((other.config.home / "bundles").iterdir()) == []


def test_compiled_model_of_one_server_is_on_the_other(
    one: Home, other: Home, churn: Specimen
):
    one.bundles.put(churn.folder, churn.model.id)
    compile_specimen(churn, one.compiled)
    made = other.compiled.fetched(churn.model.id)
    assert everything(made) == everything(one.compiled.path(churn.model.id))
    assert compiled.examine(made, "lightgbm").engine == compiled.TREES


def test_compiled_model_with_folders_is_on_the_other(one: Home, other: Home):
    model_id = "ab" * 12

    def fill(folder: Path) -> None:
        (folder / "1").mkdir()
        (folder / "1" / "a.npy").write_bytes(b"first")
        compiled.write(folder, model_id, compiled.Verdict(compiled.TREES))

    one.compiled.put(model_id, fill, unless=lambda _: False)
    assert (other.compiled.fetched(model_id) / "1" / "a.npy").read_bytes() == b"first"


def test_damaged_compiled_tar_leaves_the_model_to_its_library(
    one: Home, other: Home, churn: Specimen
):
    one.bundles.put(churn.folder, churn.model.id)
    compile_specimen(churn, one.compiled)
    path = f"compiled/{one.compiled.path(churn.model.id).name}.tar"
    data = bytearray(one.files.read(path))
    data[600] ^= 1
    one.files.write(path, bytes(data))
    assert not other.compiled.fetched(churn.model.id).exists()


def test_what_was_here_before_there_was_a_store_is_shared_at_the_start(
    one: Home, other: Home, churn: Specimen
):
    alone = Config(home=one.config.home)
    bundles_of(alone, one.files).put(churn.folder, churn.model.id)
    compile_specimen(churn, compiled_of(alone, one.files))
    assert not one.files.exists(f"bundles/{churn.model.id}.tar")
    share_all([churn.model.id], one.bundles, one.compiled)
    share_all([churn.model.id], other.bundles, other.compiled)
    assert other.bundles.has(churn.model.id)
    assert other.compiled.path(churn.model.id).exists()


FETCH = """
import sys
from pathlib import Path
from app.config import Config
from app.sharing import bundles_of
from app.store.files import open_files
url, home, model = sys.argv[1:]
config = Config(home=Path(home), store_url=url)
print("ready", flush=True)
sys.stdin.readline()
print(bundles_of(config, open_files(url)).path(model))
"""


def test_processes_that_fetch_at_once_do_so_together(
    one: Home, other: Home, churn: Specimen, url: str
):
    one.bundles.put(churn.folder, churn.model.id)
    home = other.config.home
    arguments = [sys.executable, "-c", FETCH, url, str(home), churn.model.id]
    started = [
        subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ,
        )
        for _ in range(4)
    ]
    for each in started:
        assert each.stdout is not None
        each.stdout.readline()
    answers = [each.communicate(b"\n")[0].decode().strip() for each in started]
    assert answers == [str(home / "bundles" / churn.model.id)] * 4
    assert [each.name for each in (home / "bundles").iterdir()] == [churn.model.id]


def test_fetch_that_a_dead_process_left_is_begun_again(
    one: Home, other: Home, churn: Specimen
):
    one.bundles.put(churn.folder, churn.model.id)
    left = other.config.home / "bundles" / f".fetching-{churn.model.id}"
    (left / "folder").mkdir(parents=True)
    (left / "tar").write_bytes(b"half")
    assert everything(other.bundles.path(churn.model.id)) == everything(churn.folder)
    assert not left.exists()


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A server whose store is nowhere."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return Home(tmp_path / "away", "s3://bucket")


def test_store_that_is_away_is_told_and_left_alone_for_a_while(away: Home):
    for _ in range(20):
        with pytest.raises(StoreUnreachable):
            away.bundles.path("ab" * 12)


def test_bundle_is_not_deployed_where_the_store_is_away(away: Home, churn: Specimen):
    with pytest.raises(StoreUnreachable):
        away.bundles.put(churn.folder, churn.model.id)


def test_model_that_cannot_be_fetched_is_unavailable(away: Home, churn: Specimen):
    from app.access_log import RequestRecord
    from app.receiving import model_of
    from app.store.records import Deployment

    services = Services(away.config)
    services.store.migrate()
    services.store.add_user("ann", admin=True)
    services.store.add_model(churn.model, "ann", 1)
    made: Deployment = services.store.create_deployment("c", "ann", churn.model.id)
    with pytest.raises(ModelUnavailable):
        model_of(services, made, RequestRecord())
    services.close()


def test_server_does_not_start_on_a_store_that_nothing_speaks_to(
    tmp_path: Path,
) -> None:
    services = Services(Config(home=tmp_path, store_url="nosuch://bucket"))
    with pytest.raises(InvalidStoreUrl, match="nosuch"):
        services.compile_missing()
    services.close()


@dataclass
class Replaced:
    """A worker of the other server, which was told of a model that is not there."""

    services: Services
    deployment: str
    old: Specimen
    new: Specimen

    @property
    def model_id(self) -> str | None:
        """What requests are answered with."""
        return self.services.snapshot.deployments[self.deployment].model_id


@pytest.fixture
def replaced(
    one: Home,
    other: Home,
    specimens: dict[str, Specimen],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Replaced]:
    old, new = specimens["churn"], specimens["onnx-risk"]
    services = Services(other.config)
    store = services.store
    store.migrate()
    store.add_user("ann", admin=True)
    for each in (old, new):
        store.add_model(each.model, "ann", 1)
    one.bundles.put(old.folder, old.model.id)
    made = store.create_deployment("c", "ann", old.model.id).id
    services.refresh()
    services.models.get(old.model.id)
    # As in a worker; what its thread does is done here by hand.
    monkeypatch.setattr(services.fetching, "_is_on", True)
    store.replace_model(made, new.model.id)
    services.refresh()
    yield Replaced(services, made, old, new)
    services.close()


def test_replaced_model_serves_until_the_new_one_is_here(
    one: Home, replaced: Replaced
) -> None:
    assert replaced.model_id == replaced.old.model.id
    new = replaced.new.model.id
    one.bundles.put(replaced.new.folder, new)
    replaced.services.fetching._fetch(new)
    replaced.services.refresh()
    assert replaced.model_id == new
    assert new in replaced.services.models


def test_replaced_model_goes_where_the_new_one_cannot_be_fetched(
    replaced: Replaced,
) -> None:
    new = replaced.new.model.id
    replaced.services.fetching._fetch(new)
    replaced.services.refresh()
    assert replaced.model_id == new
    with pytest.raises(UnknownModel):
        replaced.services.models.get(new)


def test_batch_worker_opens_a_model_of_the_store(
    one: Home, churn: Specimen, tmp_path: Path, url: str
):
    one.bundles.put(churn.folder, churn.model.id)
    compile_specimen(churn, one.compiled)
    served = open_model(url, churn.model.id, tmp_path / "cache")
    assert served.model.id == churn.model.id
    assert served.backend.engine == "trees"
    assert (tmp_path / "cache" / "bundles" / churn.model.id).is_dir()


def test_batch_worker_opens_a_model_of_the_state_folder(
    churn: Specimen, tmp_path: Path
):
    alone = Config(home=tmp_path / "home")
    files = open_files(alone.home.as_uri())
    bundles_of(alone, files).put(churn.folder, churn.model.id)
    compile_specimen(churn, compiled_of(alone, files))
    served = open_model(alone.home.as_uri(), churn.model.id, tmp_path / "cache")
    assert served.backend.engine == "trees"
    assert not (tmp_path / "cache" / "bundles").exists()


@pytest.mark.parametrize("name", ["../out", "/out", "a/b/c", ".hidden", "a/../b", ""])
def test_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str):
    with tarfile.open(tmp_path / "tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(name))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidTar):
        tars.unpack(tmp_path / "tar", tmp_path / "folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: bytes):
    member = tarfile.TarInfo("a")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(member)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidTar, match="not a regular file"):
        tars.unpack(tmp_path / "tar", tmp_path / "folder")


def test_tar_of_more_than_it_may_hold_is_refused(tmp_path: Path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(bytes(1000))
    tars.pack(tmp_path / "source", tmp_path / "tar")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidTar, match="more than 999 bytes"):
        tars.unpack(tmp_path / "tar", tmp_path / "folder", max_bytes=999)
