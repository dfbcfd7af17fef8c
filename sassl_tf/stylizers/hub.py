"""Downloads from TF Hub or Kaggle into TF Hub's cache, with a time limit and clear errors.

`tensorflow_hub` downloads, unpacks and caches. But it has no time limit, takes any page for an
archive, and takes a download that breaks off between two files for a whole one. So this module
opens the connection within a time limit, checks the response, and passes it on to `tensorflow_hub`.

tfhub.dev forwards to Kaggle, which answers the same request (`?tf-hub-format=compressed`) for
its own URLs. So Kaggle handles go the same way where `kagglehub` is not installed. The tests have a
server of their own; nothing here was tried on tfhub.dev or Kaggle, nor on a real captive portal.
"""

import hashlib
import http.client
import os
import pathlib
import re
import shutil
import tempfile
import threading
import time
import urllib.request
import warnings
from typing import Any

import tensorflow as tf

from sassl_tf.errors import FileError, NetworkError, PackageError, UserError
from sassl_tf.files import replacing
from sassl_tf.typing import PathLike

PATIENCE = 10  # seconds without an answer of the server, or growth of another process's download
KAGGLE = "https://www.kaggle.com/models/"
REMEDY = (
    "With a copy of the model no network is needed: on another machine, open the URL with "
    '"?tf-hub-format=compressed" at its end, or use the download button of '
    f"{KAGGLE}google/arbitrary-image-stylization-v1 (TensorFlow 1, variation 256); unpack the "
    'archive, copy the folder here and call load_stylizer("magenta", weights=FOLDER). weights= '
    "also takes the .safetensors file that `python -m training.convert_stylizer` makes there. Or "
    "copy the other machine's TF Hub cache and set TFHUB_CACHE_DIR to it. A damaged folder in "
    "TF Hub's cache is fetched anew once it is deleted."
)
_KAGGLE_HANDLE = re.compile(r"[\w-]+/[\w.-]+/tensorflow[12]/[\w.-]+/\d+", re.IGNORECASE)


def is_handle(text: str) -> bool:
    """Returns whether a text is a URL or a Kaggle handle.

    A Kaggle handle is "owner/model/tensorFlow1/variation/version", and no local path.
    """
    if text.startswith(("https://", "http://")):
        return True
    return bool(_KAGGLE_HANDLE.fullmatch(text)) and not os.path.exists(text)


def fetch(handle: str) -> pathlib.Path:
    """Returns the local folder of a module, downloaded into TF Hub's cache unless it is there.

    A cached module needs no network. The cache is where `tensorflow_hub` has it: TFHUB_CACHE_DIR,
    --tfhub_cache_dir or the system's temporary folder. Where another process downloads the same
    module, this waits for as long as the download grows.

    Args:
        handle: a string that `is_handle`.

    Returns:
        A `pathlib.Path` with at least the files of `check_complete`.

    Raises:
        ConnectionError: the server cannot be reached, does not answer, refuses, sends a page
            instead of an archive, or the download breaks off.
        OSError: the cache cannot be written, belongs to another user, holds half a module or a lock
            file left behind; or what was downloaded is no module.
        ImportError: tensorflow_hub is missing or cannot be imported.
    """
    url = handle if "://" in handle else KAGGLE + handle
    folder = _cache_folder(url)
    try:
        _check_own(folder)
        if not _is_cached(folder):
            _check_writable(folder.parent)
            _wait_for_lock(folder)
        if not _is_cached(folder):
            _download(url)
        _check_cached(folder)
    except Exception as error:  # TensorFlow's and tarfile's too
        kind = NetworkError if isinstance(error, ConnectionError) else FileError
        what = str(error).partition("\n")[0].rstrip(".")
        raise kind(f"Could not fetch {handle} to {folder}: {what}. {REMEDY}") from error
    return folder


def is_cached(handle: str) -> bool:
    """Returns whether `fetch` finds the module in TF Hub's cache, and needs no network."""
    try:
        folder = _cache_folder(handle if "://" in handle else KAGGLE + handle)
        _check_own(folder)
        return _is_cached(folder)
    except (ImportError, OSError):
        return False


def fetch_file(url: str, query: str, sha256: str, remedy: str) -> pathlib.Path:
    """Returns the local copy of one file, downloaded into TF Hub's cache unless it is there.

    A cached file that is damaged is downloaded again.

    Args:
        url: of the model, under which the file is cached.
        query: of the URL, that asks for the file itself, such as "lite-format=tflite".
        sha256: of the file, in hexadecimal digits.
        remedy: advice for the error message, where the file cannot be had.

    Raises:
        ConnectionError: as `fetch`.
        OSError: the cache cannot be written.
        ImportError: tensorflow_hub is missing or cannot be imported.
    """
    path = _cache_folder(url).with_suffix(".tflite")
    if path.is_file() and _digest(path) == sha256:
        return path
    try:
        _check_writable(path.parent)
        with (
            _open(f"{url}?{query}", None) as response,
            replacing(path) as beside,
            open(beside, "wb") as file,
        ):
            shutil.copyfileobj(_Body(response), file)
            file.flush()
            if (found := _digest(beside)) != sha256:
                raise NetworkError(
                    f"what came is another file: expected the SHA-256 {sha256}, found {found}"
                )
    except Exception as error:
        kind = NetworkError if isinstance(error, ConnectionError) else FileError
        what = str(error).partition("\n")[0].rstrip(".")
        raise kind(f"Could not fetch {url} to {path}: {what}. {remedy}") from error
    return path


def _digest(file: pathlib.Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_complete(folder: PathLike) -> None:
    """Raises a ValueError that names the files that a SavedModel with variables lacks.

    A file that is cut short is not noticed, unless it is empty.
    """
    folder = pathlib.Path(folder)
    shards = [path.name for path in folder.glob("variables/variables.data-*-of-" + "[0-9]" * 5)]
    count = int(shards[0].rpartition("-")[2]) if shards else 1
    names = ["saved_model.pb", "variables/variables.index"]
    names += [f"variables/variables.data-{i:05}-of-{count:05}" for i in range(count)]
    paths = {name: folder / name for name in names}
    lacking = [name for name, p in paths.items() if not (p.is_file() and p.stat().st_size)]
    if lacking:
        raise UserError(f"{folder} is not a complete SavedModel: it lacks {', '.join(lacking)}.")


# The cache.


def _cache_folder(url: str) -> pathlib.Path:
    """Returns the folder where tensorflow_hub keeps the module of a URL."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
            from tensorflow_hub import resolver
    except ImportError as error:
        raise PackageError(
            f"tensorflow_hub, which fetches {url}, cannot be imported ({error}). Repair it by "
            f"python -m pip install 'setuptools<82' 'tensorflow-hub>=0.16.1,<0.17'. {REMEDY}"
        ) from error
    cache = resolver.tfhub_cache_dir(use_temp=True)
    if "://" in cache:
        raise FileError(f"TF Hub's cache is {cache}; set TFHUB_CACHE_DIR to a local folder.")
    return pathlib.Path(cache, hashlib.sha1(url.encode()).hexdigest()).absolute()


def _is_cached(folder: pathlib.Path) -> bool:
    """Returns whether tensorflow_hub takes a folder for a module: it is there, and not empty."""
    return folder.is_dir() and any(folder.iterdir())


def _check_own(folder: pathlib.Path) -> None:
    """Raises an OSError if another user of the machine may have made the module, which is run.

    A cache that the user has chosen may belong to somebody else, as on a cluster. That in the
    system's temporary folder is nobody's choice, and anyone can make it.
    """
    from tensorflow_hub import resolver

    if resolver.tfhub_cache_dir() or not hasattr(os, "getuid"):
        return
    for path in (folder.parent, folder):
        if path.exists() and (path.stat().st_uid != os.getuid() or path.stat().st_mode & 0o002):
            raise FileError(
                f"{path} belongs to another user, or others can write there, and the model in it "
                "is a program that would be run. Set TFHUB_CACHE_DIR to a folder of your own"
            )


def _check_cached(folder: pathlib.Path) -> None:
    try:
        check_complete(folder)
    except ValueError as error:
        raise FileError(f"{error} Delete this folder of the cache and try again") from error


def _check_writable(cache: pathlib.Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise FileError(
            f"the cache folder {cache} cannot be written ({error}); set TFHUB_CACHE_DIR to one "
            "that can"
        ) from error


def _wait_for_lock(folder: pathlib.Path) -> None:
    """Waits until no other process downloads; raises an OSError if its download stands still."""
    from tensorflow_hub import resolver

    lock = folder.with_name(f"{folder.name}.lock")
    size, since = None, time.monotonic()
    while lock.exists():
        try:
            now, owner = resolver._locked_tmp_dir_size(str(lock)), lock.read_text()
        except (OSError, tf.errors.OpError):  # removed just now, or never readable
            now, owner = size, "unknown"
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            raise FileError(
                f"another process holds the lock file {lock} and has written nothing for "
                f"{PATIENCE} s. If it no longer runs (host, process and number of the download: "
                f"{owner}), delete the lock file; else wait for it"
            )
        time.sleep(0.1)


# The network.


def _download(url: str) -> None:
    """Downloads a module into the cache.

    Where several processes do so at once, tensorflow_hub lets one go first. If that one is killed,
    another takes its place after about 20 s, instead of 20 minutes.
    """
    from tensorflow_hub import compressed_module_resolver

    resolver = compressed_module_resolver.HttpCompressedFileResolver()
    resolver._lock_file_timeout_sec = lambda: PATIENCE
    with _open(resolver._append_compressed_format_query(url), resolver._context) as response:
        resolver._call_urlopen = lambda _: _Body(response)
        resolver(url)


def _open(url: str, context: Any) -> Any:
    """Returns the response to a request for an archive; its reads have a time limit too.

    It is asked for in a thread, because the time limit of a socket includes neither the look-up of
    the name nor a chain of redirects.
    """
    outcome: list[Any] = []

    def attempt() -> None:
        try:
            response = urllib.request.urlopen(url, timeout=PATIENCE, context=context)
            _check_archive(response)
            outcome.append(response)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    proxy = urllib.request.getproxies().get(url.partition(":")[0])
    tried = f"tried {url}{' (the environment names a proxy)' if proxy else ''}, but"
    # Either of the two time limits may end first.
    error = outcome[0] if outcome else TimeoutError()
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        raise NetworkError(f"{tried} no answer came within {PATIENCE} s") from error
    if isinstance(error, Exception):
        raise NetworkError(f"{tried} {error}") from error
    return outcome[0]


def _check_archive(response: Any) -> None:
    """Raises a ConnectionError for a page, which a proxy or a log-in page sends with success."""
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/") or "html" in kind or "json" in kind:
        page = response.read(2000).decode(errors="replace")
        title = re.search(r"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
        shown = " ".join((title[1] if title else page).split())[:200]
        raise NetworkError(
            f"what {response.url} sent is a page ({kind}, {shown!r}) and no archive; perhaps it "
            "is a proxy's or a network's log-in page"
        )


class _Body:
    """A response whose early end is an error. tarfile may take it for the end of the archive."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def read(self, size: int = -1, /) -> bytes:
        """Reads up to `size` bytes, or all."""
        try:
            data: bytes = self._response.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise NetworkError(f"the download broke off ({error})") from error
        if not data and self._response.length:
            raise NetworkError(f"the download broke off, {self._response.length} bytes short")
        return data
