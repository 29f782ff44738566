"""Files behind HTTP, through fsspec: as they are addressed, nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from app.batch.places import LocationRefused

_CONNECT_SECONDS: Final = 10
# Without a byte of it.
_SILENT_SECONDS: Final = 60
_SERVER_ERROR: Final = 500


@contextmanager
def download(url: str) -> Iterator[IO[bytes]]:
    """What is there, to be read once from its beginning.

    Raises LocationRefused for an answer that is not the file, such as a redirect, and
    OSError.
    """
    with _told():
        # Known to have some size, it is not asked for first.
        file = _system().open(url, "rb", block_size=0, size=1)
        try:
            yield file
        finally:
            file.close()


def upload(url: str, file: IO[bytes], content_type: str) -> None:
    """PUT a file, from its beginning.

    Raises LocationRefused for an answer that does not accept it, and OSError.
    """
    size = file.seek(0, 2)
    file.seek(0)
    headers = {"Content-Type": content_type, "Content-Length": str(size)}
    with _told():
        _system().put_file(file, url, method="put", headers=headers)


def _system() -> Any:
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    async def check(response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status >= _SERVER_ERROR or status == 429:
            raise OSError(f"{response.url.host} answers {status}")
        if 300 <= status < 400:
            raise LocationRefused(
                "url",
                f"{response.url.host} answers {status}: redirects are not followed",
            )
        if not 200 <= status < 300 or status == 206:
            raise LocationRefused("url", f"{response.url.host} answers {status}")

    return HTTPFileSystem(
        encoded=True,
        skip_instance_cache=True,
        allow_redirects=False,
        client_kwargs={
            "raise_for_status": check,
            "timeout": aiohttp.ClientTimeout(
                total=None, connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS
            ),
        },
    )


@contextmanager
def _told() -> Iterator[None]:
    import aiohttp

    try:
        yield
    except FileNotFoundError:
        raise LocationRefused("url", "There is nothing at the URL") from None
    except TimeoutError as error:
        raise OSError("The URL's server does not answer in time") from error
    except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
        # Their texts have the whole URL, which may be signed.
        text = " ".join(getattr(error, "message", "").split())
        raise OSError(f"The URL's server answers no HTTP: {text[:200]}") from None
    except aiohttp.ClientError as error:
        raise OSError(f"The URL's server cannot be asked: {error}") from error
