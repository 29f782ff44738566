"""Jobs fetch their inputs and deliver their outputs, whole or not at all."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.batch import patience
from app.batch.intake import InputRefused
from app.batch.locations import LocationRefused, deliver, fetch
from app.batch.places import forget
from app.batch.spec import BatchSpec
from app.config import Config
from app.errors import BodyTooLarge, NoDataToPredict
from app.store.bundles import Bundles
from app.store.files import Files, open_files
from app.store.job_record import Job
from tests.specimens import Specimen

ROOT = Path(__file__).parents[3]
INPUT = b'a,b\n1,x\n2,"y\nz"\n'
OUTPUT = (b'outcome,note\n0.25,x\n,"a;""b\n"\n', b"1e-7,\xc3\xa9\n")


class Web:
    """A server that has files, and takes others."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.status = 200
        self.headers: list[dict[str, str]] = []
        self.cut_short = False
        self.length: str | None = None
        # Drop by drop, until somebody says that it is enough.
        self.drips = False
        self.enough = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.partition("?")[0]
                if (status := web.status) in (301, 302, 307, 308):
                    # Where it leads, all would be well.
                    web.status = 200
                    self.send_response(status)
                    self.send_header("Location", "/in/other.csv")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if web.drips:
                    self.drip()
                    return
                data = web.files.get(name)
                self.send_response(web.status if data is not None else 404)
                data = data or b""
                length = web.length or str(len(data) + web.cut_short)
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(data)

            def drip(self) -> None:
                """Neither silent nor ever done."""
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                with suppress(OSError):
                    while not web.enough.wait(0.05):
                        self.wfile.write(b"1")
                self.close_connection = True

            def hang(self) -> None:
                """Takes nothing and says nothing."""
                web.enough.wait()
                self.close_connection = True

            def do_PUT(self) -> None:
                size = int(self.headers["Content-Length"])
                if web.drips:
                    self.hang()
                    return
                data = self.rfile.read(size)
                web.headers.append(dict(self.headers))
                if web.status == 200:
                    web.files[self.path] = data
                self.send_response(web.status)
                self.send_header("Location", "/in/other.csv")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.server.serve_forever, daemon=True)
    thread.start()
    yield web
    web.server.shutdown()
    web.server.server_close()
    thread.join()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def config(tmp_path: Path, shared: Path) -> Config:
    (tmp_path / "home").mkdir()
    return Config(
        home=tmp_path / "home", batch_locations=f"{shared} s3:// http://127.0.0.1"
    )


@pytest.fixture
def files(config: Config) -> Files:
    return open_files(config.home.as_uri())


class Place:
    """A place of one type: its settings, how it is filled and what it holds."""

    def __init__(
        self,
        settings: Callable[[str], dict[str, Any]],
        put: Callable[[str, bytes], None],
        get: Callable[[str], bytes],
        names: Callable[[], list[str]],
    ) -> None:
        self.settings = settings
        self.put = put
        self.get = get
        self.names = names


@pytest.fixture(params=["filesystem", "s3", "http"])
def place(
    request: pytest.FixtureRequest, config: Config, shared: Path, web: Web
) -> Place:
    if request.param == "filesystem":
        return Place(
            lambda name: {"type": "filesystem", "path": str(shared / name)},
            lambda name, data: void((shared / name).write_bytes(data)),
            lambda name: (shared / name).read_bytes(),
            lambda: sorted(each.name for each in shared.iterdir()),
        )
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        object.__setattr__(config, "batch_locations", f"{bucket}/in")
        store = open_files(f"{bucket}/in")
        return Place(
            lambda name: {"type": "s3", "url": f"{bucket}/in/{name}"},
            store.write,
            store.read,
            lambda: store.names(""),
        )
    object.__setattr__(config, "batch_locations", web.url)
    web.files.clear()
    web.headers.clear()
    web.status, web.cut_short = 200, False
    return Place(
        lambda name: {"type": "http", "url": f"{web.url}/{name}"},
        lambda name, data: web.files.update({f"/in/{name}": data}),
        lambda name: web.files[f"/in/{name}"],
        lambda: [each.removeprefix("/in/") for each in web.files],
    )


def void(_: object) -> None:
    pass


def new_job(
    intake: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    csv: dict[str, str] | None = None,
    model_id: str = "ab" * 12,
    parts: int = 0,
    **spec: Any,
) -> Job:
    told = BatchSpec("d" * 24).to_json() | spec
    told["intakeSettings"] = intake or {"type": "localFile"}
    told["outputSettings"] = output or {"type": "localFile"}
    told["csvSettings"] |= csv or {}
    return Job(
        id="c" * 24,
        deployment_id="d" * 24,
        owner_id="a" * 24,
        created_at=datetime(2026, 5, 1, tzinfo=UTC),
        source="tests",
        spec=told,
        pinned={"model_id": model_id, "threshold": None, "settings": {}},
        status="RUNNING",
        phase="intake",
        status_details="",
        logs=[],
        parts_done=parts,
    )


def scored(files: Files, **options: Any) -> Job:
    job = new_job(parts=len(OUTPUT), **options)
    for number, part in enumerate(OUTPUT):
        files.write(job.part_path(number), part)
    return job


def test_input_is_fetched(place: Place, files: Files, config: Config) -> None:
    place.put("input.csv", INPUT)
    job = new_job(place.settings("input.csv"))
    assert fetch(job, files, config) == len(INPUT)
    assert files.read(job.input_path) == INPUT


def test_input_in_another_dialect_is_made_the_usual(
    place: Place, files: Files, config: Config
) -> None:
    place.put("input.csv", "a;b\n1;'é;'\n".encode("latin-1"))
    csv = {"delimiter": ";", "quotechar": "'", "encoding": "latin-1"}
    job = new_job(place.settings("input.csv"), csv=csv)
    fetch(job, files, config)
    assert files.read(job.input_path) == "a,b\r\n1,é;\r\n".encode()


def test_input_of_parquet_is_made_csv(
    place: Place, files: Files, config: Config, specimens: dict[str, Specimen]
) -> None:
    churn = specimens["churn"]
    Bundles(config.home).put(churn.folder, churn.model.id)
    table = pa.table({"a": [1.5, None], "b": [True, False], "c": ["x", "y\nz"]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    place.put("input.parquet", sink.getvalue())
    job = new_job(place.settings("input.parquet"), model_id=churn.model.id)
    fetch(job, files, config)
    assert files.read(job.input_path) == b'a,b,c\n1.5,True,x\n,False,"y\nz"\n'


def test_input_that_is_not_there_is_told(
    place: Place, files: Files, config: Config
) -> None:
    job = new_job(place.settings("input.csv"))
    with pytest.raises(LocationRefused, match="no such|nothing at|404"):
        fetch(job, files, config)
    assert not files.exists(job.input_path)


def test_input_larger_than_allowed_is_refused(
    place: Place, files: Files, config: Config
) -> None:
    object.__setattr__(config, "max_upload", 1000)
    place.put("input.csv", b"a\n" + b"1\n" * 500)
    job = new_job(place.settings("input.csv"))
    with pytest.raises(BodyTooLarge, match="larger than 1000 bytes"):
        fetch(job, files, config)
    assert not files.exists(job.input_path)


@pytest.mark.parametrize("data", [b"", b"a,b\n", b'a,b\n1,"x\n', b"a\n\xff\n"])
def test_input_that_is_none_is_refused(
    place: Place, files: Files, config: Config, data: bytes
) -> None:
    place.put("input.csv", data)
    job = new_job(place.settings("input.csv"))
    with pytest.raises((InputRefused, NoDataToPredict)):
        fetch(job, files, config)
    assert not files.exists(job.input_path)


def test_place_that_is_no_longer_allowed_is_refused(
    place: Place, files: Files, config: Config
) -> None:
    place.put("input.csv", INPUT)
    object.__setattr__(config, "batch_locations", "/elsewhere")
    with pytest.raises(LocationRefused):
        fetch(new_job(place.settings("input.csv")), files, config)
    with pytest.raises(LocationRefused):
        deliver(scored(files, output=place.settings("output.csv")), files, config)
    assert place.names() == ["input.csv"]


def test_output_is_delivered(place: Place, files: Files, config: Config) -> None:
    job = scored(files, output=place.settings("output.csv"))
    deliver(job, files, config)
    assert place.get("output.csv") == b"".join(OUTPUT)
    assert place.names() == ["output.csv"]


def test_output_delivered_again_is_the_same(
    place: Place, files: Files, config: Config
) -> None:
    place.put("output.csv", b"older and longer than what comes now" * 100)
    job = scored(files, output=place.settings("output.csv"))
    for _ in range(2):
        deliver(job, files, config)
        assert place.get("output.csv") == b"".join(OUTPUT)
    assert place.names() == ["output.csv"]


def test_output_is_written_in_the_dialect_of_the_job(
    place: Place, files: Files, config: Config
) -> None:
    csv = {"delimiter": ";", "encoding": "latin-1"}
    job = scored(files, output=place.settings("output.csv"), csv=csv)
    deliver(job, files, config)
    expected = 'outcome;note\n0.25;x\n;"a;""b\n"\n1e-7;é\n'
    assert place.get("output.csv") == expected.encode("latin-1")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_parts_of_the_output_have_one_byte_order_mark(
    files: Files, config: Config, shared: Path, encoding: str
) -> None:
    output = {"type": "filesystem", "path": str(shared / "output.csv")}
    job = scored(files, output=output, csv={"encoding": encoding})
    deliver(job, files, config)
    text = (shared / "output.csv").read_bytes().decode(encoding)
    assert "\ufeff" not in text
    assert len(text.splitlines()) == len(b"".join(OUTPUT).splitlines())


def test_row_without_a_value_is_no_empty_line_in_any_dialect(
    files: Files, config: Config, shared: Path
) -> None:
    output = {"type": "filesystem", "path": str(shared / "output.csv")}
    csv = {"delimiter": ";", "quotechar": "'"}
    job = scored(files, output=output, csv=csv)
    files.write(job.part_path(0), b'outcome\n0.25\n""\n')
    files.write(job.part_path(1), b"0.75\n")
    deliver(job, files, config)
    assert (shared / "output.csv").read_bytes() == b"outcome\n0.25\n''\n0.75\n"


def test_output_of_parquet_is_typed_as_the_model_says(
    place: Place, files: Files, config: Config, specimens: dict[str, Specimen]
) -> None:
    churn = specimens["churn"]
    Bundles(config.home).put(churn.folder, churn.model.id)
    yes, no = churn.model.positive_label, churn.model.negative_label
    target = churn.model.target
    job = new_job(
        output=place.settings("output.parquet"),
        model_id=churn.model.id,
        parts=1,
        columnNamesRemapping=[
            {"inputName": f"{target}_{no}_PREDICTION", "outputName": "n"}
        ],
    )
    head = f"{target}_{yes}_PREDICTION,n,{target}_PREDICTION,THRESHOLD,id\n"
    files.write(job.part_path(0), f"{head}0.25,0.75,1,0.5,007\n,,,,8\n".encode())
    deliver(job, files, config)
    table = pq.read_table(io.BytesIO(place.get("output.parquet")))
    double, string = pa.float64(), pa.string()
    assert table.schema.types == [double, double, string, double, string]
    assert table["id"].to_pylist() == ["007", "8"]
    assert table["n"].to_pylist() == [0.75, None]


@pytest.mark.parametrize(
    "left_out",
    [{"includeProbabilities": False}, {"includeProbabilitiesClasses": ["Yes"]}],
)
def test_text_under_the_name_of_a_column_that_is_left_out_stays_text(
    files: Files,
    config: Config,
    shared: Path,
    specimens: dict[str, Specimen],
    left_out: dict[str, Any],
) -> None:
    churn = specimens["churn"]
    Bundles(config.home).put(churn.folder, churn.model.id)
    assert churn.model.positive_label == "Yes"
    name = f"{churn.model.target}_{churn.model.negative_label}_PREDICTION"
    job = new_job(
        output={"type": "filesystem", "path": str(shared / "output.parquet")},
        model_id=churn.model.id,
        parts=1,
        columnNamesRemapping=[{"inputName": "id", "outputName": name}],
        **left_out,
    )
    files.write(job.part_path(0), f"{name}\n007\n".encode())
    deliver(job, files, config)
    assert pq.read_table(shared / "output.parquet")[name].to_pylist() == ["007"]


def test_output_that_breaks_off_does_not_appear(
    place: Place, files: Files, config: Config
) -> None:
    place.put("output.csv", b"older")
    job = scored(files, output=place.settings("output.csv"))
    files.remove(job.part_path(1))
    with pytest.raises((OSError, LocationRefused)):
        deliver(job, files, config)
    assert place.get("output.csv") == b"older"
    assert place.names() == ["output.csv"]


def test_character_that_the_encoding_lacks_is_told(
    place: Place, files: Files, config: Config
) -> None:
    job = scored(files, output=place.settings("o.csv"), csv={"encoding": "ascii"})
    with pytest.raises(LocationRefused, match="ascii cannot write"):
        deliver(job, files, config)
    assert place.names() == []


KILLED = """
import os, sys
from pathlib import Path
from app.batch.locations import _target
from app.batch.patience import Patience
from app.config import Config

home, shared, job_id = sys.argv[1:]
config = Config(home=Path(home), batch_locations=shared)
place = {"type": "filesystem", "path": f"{shared}/o.csv"}
with _target(place, job_id, config, Patience()) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def cut_off(config: Config, shared: Path, job: Job) -> None:
    """Deliver an output in a process that is killed half-way."""
    line = [sys.executable, "-c", KILLED, str(config.home), str(shared), job.id]
    assert subprocess.run(line, cwd=ROOT).returncode == -9


def test_delivery_done_again_removes_what_one_that_was_killed_left(
    files: Files, config: Config, shared: Path
) -> None:
    job = scored(files, output={"type": "filesystem", "path": str(shared / "o.csv")})
    (shared / f".foretell-{'b' * 24}-x.part").write_bytes(b"another's")
    cut_off(config, shared, job)
    assert len(list(shared.iterdir())) == 2
    deliver(job, files, config)
    assert {each.name for each in shared.iterdir()} == {
        "o.csv",
        f".foretell-{'b' * 24}-x.part",
    }


def test_link_in_place_of_what_is_left_is_removed_and_not_followed(
    files: Files, config: Config, shared: Path, tmp_path: Path
) -> None:
    job = scored(files, output={"type": "filesystem", "path": str(shared / "o.csv")})
    (tmp_path / "precious").write_bytes(b"kept")
    (shared / f".foretell-{job.id}-0.part").symlink_to(tmp_path / "precious")
    deliver(job, files, config)
    assert (tmp_path / "precious").read_bytes() == b"kept"
    assert [each.name for each in shared.iterdir()] == ["o.csv"]


def test_job_that_ends_leaves_nothing_of_a_delivery_that_was_killed(
    files: Files, config: Config, shared: Path
) -> None:
    output = {"type": "filesystem", "path": str(shared / "o.csv")}
    job = scored(files, output=output)
    cut_off(config, shared, job)
    forget(output, job.id, config)
    assert not list(shared.iterdir())


@contextmanager
def at(web: Web, config: Config) -> Iterator[None]:
    object.__setattr__(config, "batch_locations", web.url)
    web.files.clear()
    web.headers.clear()
    try:
        yield
    finally:
        web.status, web.cut_short, web.length = 200, False, None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(
    web: Web, files: Files, config: Config, status: int
) -> None:
    with at(web, config):
        web.files["/in/other.csv"] = INPUT
        web.status = status
        job = new_job({"type": "http", "url": f"{web.url}/input.csv"})
        with pytest.raises(LocationRefused, match="redirects are not followed"):
            fetch(job, files, config)
        web.status = status
        job = scored(files, output={"type": "http", "url": f"{web.url}/output.csv"})
        with pytest.raises(LocationRefused, match="redirects are not followed"):
            deliver(job, files, config)
        assert web.files == {"/in/other.csv": INPUT}


@pytest.mark.parametrize(
    ("status", "error"), [(403, LocationRefused), (503, OSError), (429, OSError)]
)
def test_refusal_ends_a_job_and_a_failure_may_be_tried_again(
    web: Web, files: Files, config: Config, status: int, error: type[Exception]
) -> None:
    with at(web, config):
        web.files["/in/input.csv"] = INPUT
        web.status = status
        job = new_job({"type": "http", "url": f"{web.url}/input.csv"})
        with pytest.raises(error, match=str(status)):
            fetch(job, files, config)


def test_answer_that_is_cut_short_is_no_input(
    web: Web, files: Files, config: Config
) -> None:
    with at(web, config):
        web.files["/in/input.csv"] = INPUT
        web.cut_short = True
        job = new_job({"type": "http", "url": f"{web.url}/input.csv"})
        with pytest.raises(OSError):
            fetch(job, files, config)
        assert not files.exists(job.input_path)


def test_answer_that_is_no_http_is_told_without_the_signature(
    web: Web, files: Files, config: Config
) -> None:
    with at(web, config):
        web.files["/in/input.csv"] = INPUT
        web.length = "many"
        url = f"{web.url}/input.csv?signature=secret"
        with pytest.raises(OSError, match="answers no HTTP") as raised:
            fetch(new_job({"type": "http", "url": url}), files, config)
        assert "secret" not in str(raised.value)


def test_server_that_is_away_may_be_tried_again(files: Files, config: Config) -> None:
    object.__setattr__(config, "batch_locations", "http://127.0.0.1:9")
    job = new_job({"type": "http", "url": "http://127.0.0.1:9/input.csv"})
    with pytest.raises(OSError):
        fetch(job, files, config)


def test_output_is_put_with_its_type_and_length(
    web: Web, files: Files, config: Config
) -> None:
    with at(web, config):
        job = scored(
            files, output={"type": "http", "url": f"{web.url}/o.csv?sig=a%2Fb"}
        )
        deliver(job, files, config)
        assert web.headers[0]["Content-Type"] == "text/csv"
        assert web.files == {"/in/o.csv?sig=a%2Fb": b"".join(OUTPUT)}


@pytest.fixture
def dripping(web: Web, config: Config) -> Iterator[Web]:
    with at(web, config):
        web.drips = True
        web.enough.clear()
        yield web
        web.enough.set()
        web.drips = False


def test_source_that_drips_is_refused(
    dripping: Web, files: Files, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "STEP_SECONDS", 1.0)
    job = new_job({"type": "http", "url": f"{dripping.url}/input.csv"})
    with pytest.raises(LocationRefused, match="server is too slow: less than 256 KiB"):
        fetch(job, files, config)
    assert not files.exists(job.input_path)


def test_target_that_takes_nothing_is_refused(
    dripping: Web, files: Files, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "STEP_SECONDS", 1.0)
    job = scored(files, output={"type": "http", "url": f"{dripping.url}/output.csv"})
    with pytest.raises(LocationRefused, match="server is too slow"):
        deliver(job, files, config)
    assert dripping.files == {}


class Ended(Exception):
    pass


def ended_at(number: int) -> Callable[[], None]:
    """What finds the job ended when it looks for the so manieth time."""
    looks = iter(range(number))

    def check() -> None:
        if next(looks, None) is None:
            raise Ended

    return check


def test_job_that_is_ended_waits_for_no_source(
    dripping: Web, files: Files, config: Config
) -> None:
    job = new_job({"type": "http", "url": f"{dripping.url}/input.csv"})
    with pytest.raises(Ended):
        fetch(job, files, config, ended_at(2))
    assert not files.exists(job.input_path)


def test_job_that_is_ended_waits_for_no_target(
    dripping: Web, files: Files, config: Config
) -> None:
    job = scored(files, output={"type": "http", "url": f"{dripping.url}/output.csv"})
    with pytest.raises(Ended):
        deliver(job, files, config, ended_at(3))
    # The same process goes on with others.
    dripping.enough.set()
    dripping.drips = False
    deliver(job, files, config)
    assert dripping.files == {"/in/output.csv": b"".join(OUTPUT)}


def test_job_that_is_ended_is_neither_fetched_nor_delivered(
    place: Place, files: Files, config: Config
) -> None:
    place.put("input.csv", INPUT)
    job = new_job(place.settings("input.csv"))
    with pytest.raises(Ended):
        fetch(job, files, config, ended_at(0))
    assert not files.exists(job.input_path)
    job = scored(files, output=place.settings("output.csv"))
    with pytest.raises(Ended):
        deliver(job, files, config, ended_at(1))
    assert place.names() == ["input.csv"]


def test_input_larger_than_a_step_is_fetched_whole(
    place: Place, files: Files, config: Config
) -> None:
    data = b"a,b\n" + b"123456789,x\n" * 200_000
    place.put("input.csv", data)
    job = new_job(place.settings("input.csv"))
    assert fetch(job, files, config) == len(data)
    assert files.read(job.input_path) == data
