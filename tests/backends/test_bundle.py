"""A bundle is read only as it was written, and unpacked without following a tar."""

import dataclasses
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import bundle
from backends.bundle import BundleRejected
from backends.model import Feature, Model

CARD = Model(
    id="",
    name="Prices",
    format="lightgbm",
    file="model.txt",
    task="regression",
    target="Preis in €",
    features=(
        Feature("größe", "numeric"),
        Feature("town", "categorical", categories=("São Paulo", "")),
    ),
    prediction_bounds=(-1e-7, 0.1),
    versions={"lightgbm": "4.7.0"},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.txt").write_bytes(b"tree\n")
    (folder / "golden.json").write_text("{}")
    bundle.write(folder, CARD)
    return folder


def test_card_comes_back_with_an_id_from_the_content(folder: Path) -> None:
    model = bundle.read(folder)
    assert model == dataclasses.replace(CARD, id=model.id)
    card = json.loads((folder / "model.json").read_text())
    assert card["checksum"].startswith(model.id) and len(model.id) == 24


def test_same_content_has_the_same_id(folder: Path) -> None:
    before = bundle.read(folder).id
    (folder / "model.json").unlink()
    assert bundle.write(folder, CARD).id == before
    (folder / "golden.json").write_text("[]")
    assert bundle.write(folder, CARD).id != before


def test_changed_file_is_refused(folder: Path) -> None:
    (folder / "golden.json").write_text("[]")
    with pytest.raises(BundleRejected, match="'golden.json' was changed"):
        bundle.read(folder)


def test_changed_card_is_refused(folder: Path) -> None:
    card = (folder / "model.json").read_text()
    (folder / "model.json").write_text(card.replace("Prices", "Prizes"))
    with pytest.raises(BundleRejected, match="model.json was changed"):
        bundle.read(folder)


def test_extra_file_is_refused(folder: Path) -> None:
    (folder / "more.py").write_text("")
    with pytest.raises(BundleRejected, match="'more.py' is not part of the bundle"):
        bundle.read(folder)


def test_missing_file_is_refused(folder: Path) -> None:
    (folder / "model.txt").unlink()
    with pytest.raises(BundleRejected, match="'model.txt' is missing"):
        bundle.read(folder)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "hidden"])
def test_what_is_no_plain_file_is_refused(folder: Path, kind: str) -> None:
    other = folder / ("other" if kind != "hidden" else ".other")
    makers = {
        "link": lambda: other.symlink_to("/etc/hostname"),
        "folder": other.mkdir,
        "pipe": lambda: os.mkfifo(other),
        "hidden": other.touch,
    }
    makers[kind]()
    with pytest.raises(BundleRejected, match="other' .*(regular file|a name that)"):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no table of files"),
        (b'{"files": []}', "no table of files"),
        (b'{"files": {}}', "was changed"),
        (b'{"files": {}, "x": NaN}', "no canonical form"),
        (b'{"files": {}, "x": "\\ud800"}', "no canonical form"),
    ],
)
def test_card_that_is_none_is_refused(folder: Path, card: bytes, message: str) -> None:
    (folder / "model.json").write_bytes(card)
    with pytest.raises(BundleRejected, match=message):
        bundle.read(folder)


def test_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRejected, match="'model.json' is missing"):
        bundle.read(tmp_path)
    with pytest.raises(BundleRejected, match="there is no folder"):
        bundle.read(tmp_path / "nowhere")


def test_card_with_a_key_of_its_own_is_refused(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    del card["checksum"]
    card["code"] = "import os"
    card["checksum"] = bundle._checksum(card)
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(BundleRejected, match="unknown key 'code'"):
        bundle.read(folder)


def test_card_of_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(BundleRejected, match="no model file 'model.onnx'"):
        bundle.write(folder, dataclasses.replace(CARD, file="model.onnx"))


def test_every_model_file_of_the_card_has_to_be_there(folder: Path) -> None:
    feature = Feature("Forecast Distance", "numeric")
    files = {1: "model.txt", 2: "model-2.txt"}
    card = dataclasses.replace(
        CARD, features=(*CARD.features, feature), files=files, time_series={}
    )
    with pytest.raises(BundleRejected, match="no model file 'model-2.txt'"):
        bundle.write(folder, card)
    (folder / "model-2.txt").write_bytes(b"tree\n")
    assert bundle.write(folder, card).files == files
    assert bundle.read(folder).time_series == {}


def test_tar_is_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    bundle.pack(folder, tmp_path / "a.tar")
    os.utime(folder / "model.txt", (1, 1))
    (folder / "golden.json").chmod(0o600)
    bundle.pack(folder, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.tar",
        "b.tar",
        "bundle",
    ]


def test_unpacked_tar_is_the_bundle(folder: Path, tmp_path: Path) -> None:
    bundle.pack(folder, tmp_path / "a.tar")
    model = bundle.unpack(tmp_path / "a.tar", tmp_path / "copy")
    assert model == bundle.read(folder)
    for path in folder.iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()


def test_changed_bundle_is_not_packed(folder: Path, tmp_path: Path) -> None:
    (folder / "golden.json").write_text("[]")
    with pytest.raises(BundleRejected):
        bundle.pack(folder, tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


def test_unpacking_writes_over_nothing(folder: Path, tmp_path: Path) -> None:
    bundle.pack(folder, tmp_path / "a.tar")
    with pytest.raises(BundleRejected, match="not empty"):
        bundle.unpack(tmp_path / "a.tar", folder)


def member(name: str, content: bytes = b"", **changes: object) -> bytes:
    """A header and what follows it, as an attacker may write them."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    padding = bytes(-len(content) % 512)
    return info.tobuf(tarfile.GNU_FORMAT) + content + padding


END = bytes(1024)


@pytest.mark.parametrize(
    "attack",
    [
        member("../evil", b"x"),
        member("/tmp/evil", b"x"),
        member("sub/evil", b"x"),
        member("..", b"x"),
        member(".", b"x"),
        member(".hidden", b"x"),
        member("evil\n", b"x"),
        member("a\\b", b"x"),
        member("", b"x"),
        member("x" * 400, b"x"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("link", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        member("folder", type=tarfile.DIRTYPE),
        member("tty", type=tarfile.CHRTYPE, devmajor=5),
        member("disk", type=tarfile.BLKTYPE),
        member("pipe", type=tarfile.FIFOTYPE),
        member("sparse", type=tarfile.GNUTYPE_SPARSE),
        member("pax", b"30 path=../evil\n", type=tarfile.XHDTYPE),
        member("pax", b"30 path=../evil\n", type=tarfile.XGLTYPE),
        member("unknown", type=b"Z"),
        member("twice", b"x") * 2,
        member("long", b"x" * 10)[:-512],
        member("long", b"x" * 10)[:-500],
        member("negative", size=-1),
        member("huge", size=2**60),
        member("checksum")[:100] + b"!" + member("checksum")[101:],
        b"not a tar at all",
        b"",
        b"\x1f\x8b" + bytes(600),
        b"".join(member(f"file{i}") for i in range(1000)),
    ],
)
def test_hostile_tar_is_refused_and_writes_nothing_outside(
    attack: bytes, tmp_path: Path
) -> None:
    tar = tmp_path / "attack.tar"
    tar.write_bytes(attack + END if len(attack) % 512 == 0 and attack else attack)
    inside = tmp_path / "inside"
    with pytest.raises(BundleRejected):
        bundle.unpack(tar, inside)
    assert {path.name for path in tmp_path.iterdir()} == {"attack.tar", "inside"}
    assert not [path for path in inside.iterdir() if path.is_symlink()]


def test_tar_larger_than_allowed_is_refused(folder: Path, tmp_path: Path) -> None:
    bundle.pack(folder, tmp_path / "a.tar")
    with pytest.raises(BundleRejected, match="more than 100 bytes"):
        bundle.unpack(tmp_path / "a.tar", tmp_path / "copy", max_bytes=100)


def test_tar_with_a_changed_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "golden.json").write_text("[]")
    tar = tmp_path / "a.tar"
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path in folder.iterdir():
            archive.add(path, path.name)
    with pytest.raises(BundleRejected, match="'golden.json' was changed"):
        bundle.unpack(tar, tmp_path / "copy")


def test_tar_of_the_folder_itself_is_taken(folder: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-C", folder, "-cf", tmp_path / "b.tar", "."], check=True)
    assert bundle.unpack(tmp_path / "b.tar", tmp_path / "copy") == bundle.read(folder)


@pytest.mark.parametrize(
    "start",
    [
        member("./sub", type=tarfile.DIRTYPE),
        member("..", type=tarfile.DIRTYPE),
        member("./../evil", b"x"),
        member("././evil", b"x"),
        member(".", b"x"),
        member("./", b"x"),
        member(".", type=tarfile.DIRTYPE, size=512),
        member(".", type=tarfile.SYMTYPE, linkname="/etc"),
    ],
)
def test_no_other_folder_is_taken(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(start + END)
    with pytest.raises(BundleRejected):
        bundle.unpack(tmp_path / "b.tar", tmp_path / "copy")
    assert not (tmp_path / "evil").exists()


@given(noise=st.binary(max_size=3000), place=st.integers(0, 3000))
def test_damaged_tar_is_refused_and_never_crashes(
    noise: bytes, place: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("tar")
    archive = io.BytesIO(member("a", b"1" * 600) + member("b", b"2") + END)
    archive.seek(place)
    archive.write(noise)
    (tmp_path / "a.tar").write_bytes(archive.getvalue())
    with pytest.raises(BundleRejected):
        bundle.unpack(tmp_path / "a.tar", tmp_path / "copy")
