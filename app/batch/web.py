"""Files behind HTTP, through fsspec: as they are addressed, nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, Final

from app.batch.patience import Patience, TooSlow
from app.batch.places import LocationRefused
from app.pace import STEP

_CONNECT_SECONDS: Final = 10
# Without a byte of it; whoever waits loses patience before.
_SILENT_SECONDS: Final = 120
_SERVER_ERROR: Final = 500


@contextmanager
def download(url: str, patience: Patience) -> Iterator[IO[bytes]]:
    """What is there, to be read once from its beginning.

    Raises LocationRefused for an answer that is not the file, such as a redirect, and
    for one that drips; OSError, and what `patience` raises.
    """
    system = _system()
    with _told():
        # Known to have some size, it is not asked for first.
        file = patience.wait(lambda: system.open(url, "rb", block_size=0, size=1))
        try:
            yield file
        finally:
            file.close()


def upload(url: str, file: IO[bytes], content_type: str, patience: Patience) -> None:
    """PUT a file, from its beginning.

    Raises LocationRefused for an answer that does not accept it, and for a server that
    takes it drop by drop; OSError, and what `patience` raises.
    """
    size = file.seek(0, 2)
    file.seek(0)
    headers = {"Content-Type": content_type, "Content-Length": str(size)}
    put = partial(
        _system().put_file, file, url, chunk_size=STEP, method="put", headers=headers
    )
    with _told():
        patience.wait(put, file.tell)


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
    except TooSlow as error:
        raise LocationRefused("url", f"The URL's server is too slow: {error}") from None
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
