"""Files that all servers and workers share: a folder, or an object store by URL."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from app.store.errors import InvalidStoreUrl
from app.store.folders import sync_folder

# What speaks to object stores below fsspec: their exceptions are no OSErrors.
_CLIENTS = frozenset({"botocore", "aiobotocore", "aiohttp"})


class Files(ABC):
    """Files by their paths, such as `jobs/ID/input.csv`.

    A file appears under its path complete and kept, or not at all; one that is there is
    replaced. Verbs raise OSError, FileNotFoundError among them.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """What `open_files` makes the same of, on another machine too."""

    @abstractmethod
    def open(self, path: str) -> IO[bytes]:
        """To be read from its beginning; it can seek."""

    @abstractmethod
    def writer(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """To be filled; the file appears at the end, unless something was raised."""

    @abstractmethod
    def size(self, path: str) -> int:
        """In bytes."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The files of a folder, by name; none where there is no folder."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """A file, or a folder with all that is in it; nothing if there is none."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` to before `end`; None is the file's end."""
        with self.open(path) as file:
            file.seek(start)
            return file.read(-1 if end is None else end - start)

    def write(self, path: str, data: bytes) -> None:
        """A whole file at once."""
        with self.writer(path) as file:
            file.write(data)


class Folder(Files):
    """Files in a folder of this machine, for their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def url(self) -> str:
        return self._root.absolute().as_uri()

    def open(self, path: str) -> IO[bytes]:
        return (self._root / path).open("rb")

    @contextmanager
    def writer(self, path: str) -> Iterator[IO[bytes]]:
        target = self._root / path
        _make_folders(target.parent)
        # Of mode 0600, in the same file system as the name it will get.
        descriptor, part = tempfile.mkstemp(prefix=".part-", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def size(self, path: str) -> int:
        return (self._root / path).stat().st_size

    def names(self, folder: str) -> list[str]:
        place = self._root / folder
        if not place.is_dir():
            return []
        return sorted(
            each.name for each in place.iterdir() if not each.name.startswith(".part-")
        )

    def remove(self, path: str) -> None:
        target = self._root / path
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            if target.is_dir():
                # Somebody writes there, or may; else nobody would look again.
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), target)
        else:
            target.unlink(missing_ok=True)


class Objects(Files):
    """Files in an object store, through fsspec."""

    def __init__(self, url: str) -> None:
        """url: such as s3://bucket/folder. Raises InvalidStoreUrl."""
        self._url = url.rstrip("/")
        self._opened: tuple[int, Any, str] | None = None

    @property
    def url(self) -> str:
        return self._url

    def open(self, path: str, block_size: int | None = None) -> IO[bytes]:
        """block_size: bytes that are asked for at once; None: what the client does."""
        with self._asked() as (system, root):
            file: IO[bytes] = system.open(f"{root}/{path}", "rb", block_size=block_size)
        return file

    @contextmanager
    def writer(self, path: str) -> Iterator[IO[bytes]]:
        with self._asked() as (system, root):
            # Sent in pieces; the object is made of them at the end only.
            file = system.open(f"{root}/{path}", "wb", autocommit=False)
            try:
                yield file
                file.close()
                file.commit()
            except BaseException:
                # Else it would be sent when it is collected.
                file.closed = True
                file.discard()
                raise

    def size(self, path: str) -> int:
        with self._asked() as (system, root):
            return int(system.size(f"{root}/{path}"))

    def names(self, folder: str) -> list[str]:
        with self._asked() as (system, root):
            place = f"{root}/{folder}".rstrip("/")
            try:
                found = system.ls(place, detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(each).rpartition("/")[2] for each in found if each != place)

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        if end is not None and end <= start:
            # No range of HTTP says that.
            return b""
        with self._asked() as (system, root):
            data: bytes = system.cat_file(f"{root}/{path}", start=start, end=end)
        return data

    def write(self, path: str, data: bytes) -> None:
        with self._asked() as (system, root):
            system.pipe_file(f"{root}/{path}", data)

    def remove(self, path: str) -> None:
        with self._asked() as (system, root):
            try:
                system.rm(f"{root}/{path}", recursive=True)
            except FileNotFoundError:
                pass

    @contextmanager
    def _asked(self) -> Iterator[tuple[Any, str]]:
        try:
            yield self._system()
        except Exception as error:
            # Of the client libraries, which nobody here knows by name.
            library = type(error).__module__.partition(".")[0]
            if isinstance(error, OSError) or library not in _CLIENTS:
                raise
            raise OSError(f"The object store does not answer: {error}") from error

    def _system(self) -> tuple[Any, str]:
        # Its threads and connections do not survive a fork.
        if self._opened is None or self._opened[0] != os.getpid():
            import fsspec

            try:
                system, root = fsspec.core.url_to_fs(
                    self._url,
                    skip_instance_cache=True,
                    # Other machines write what was listed here before.
                    use_listings_cache=False,
                )
            except (ImportError, ValueError) as error:
                raise InvalidStoreUrl(f"FORETELL_STORE_URL: {error}") from error
            self._opened = os.getpid(), system, root.rstrip("/")
        return self._opened[1], self._opened[2]


def _make_folders(folder: Path) -> None:
    """A folder and those above it, the ones that are missing for their owner only."""
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def open_files(url: str) -> Files:
    """The files at a URL: file:///FOLDER, or what fsspec knows, such as s3://BUCKET.

    Raises InvalidStoreUrl; whether it can be reached is seen at its first use.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    if not parts.scheme or not parts.netloc:
        raise InvalidStoreUrl(
            f"FORETELL_STORE_URL is a URL such as s3://BUCKET/FOLDER, not {url!r}"
        )
    return Objects(url)
