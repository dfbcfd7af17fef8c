"""Fetching a module with the real tensorflow_hub from a server of our own."""

import functools
import hashlib
import http.server
import io
import os
import shutil
import socket
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request

import pytest
import tensorflow as tf

from sassl_tf.errors import FileError, NetworkError
from sassl_tf.stylizers import hub

NAME = "/google/magenta/stylization/2"
ARCHIVE = "application/x-tar"
INDEX = "variables/variables.index"
SHARD = "variables/variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """A SavedModel with one variable, too large to fit into one read of its archive."""
    folder = tmp_path_factory.mktemp("module")
    module = tf.Module()
    module.weight = tf.Variable(tf.random.stateless_normal([300, 300], seed=(1, 2)))
    tf.saved_model.save(module, str(folder))
    return folder


def archive(folder, names=("saved_model.pb", "variables", SHARD, INDEX), mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name in names:
            tar.add(folder / name, name, recursive=False)
    return buffer.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        self.server.answer(self)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """`server.answer(request)` answers; `server.url` is a module on it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.root = f"http://127.0.0.1:{server.server_port}"
    server.url = server.root + NAME
    server.requested = []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "TFHUB_MODEL_LOAD_FORMAT"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def impatient(monkeypatch):
    """For what nobody answers."""
    monkeypatch.setattr(hub, "PATIENCE", 1)


@pytest.fixture
def patience(monkeypatch):
    """Less than what is slow takes in all, and far more than it takes between signs of life."""
    monkeypatch.setattr(hub, "PATIENCE", 2)


def send(request, body, kind=ARCHIVE, status=200, length=None):
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(length or len(body)))
    request.end_headers()
    request.wfile.write(body)


def sending(body, **options):
    return functools.partial(send, body=body, **options)


def place(cache, url):
    return cache / hashlib.sha1(url.encode()).hexdigest()


def failure(handle, kind):
    """The message of the error, which comes in time, and has what every message should have."""
    start = time.monotonic()
    with pytest.raises(OSError) as error:
        hub.fetch(handle)
    assert time.monotonic() - start < 60
    assert type(error.value) is kind and error.value.__cause__ is not None
    message = str(error.value)
    assert message.startswith(f"Could not fetch {handle} to ") and message.endswith(hub.REMEDY)
    return message


def assert_refused(server, *words):
    """A failure on the network, with these words and what was tried; it leaves no traces."""
    message = failure(server.url, NetworkError)
    folder = place(hub._cache_folder(server.url).parent, server.url)
    for word in (f"{server.url}?tf-hub-format=compressed", str(folder), *words):
        assert word in message
    assert list(folder.parent.iterdir()) == []


# What works.


def test_a_module_is_fetched_once(server, module, cache):
    server.answer = sending(archive(module))
    folder = hub.fetch(server.url)
    assert folder == place(cache, server.url)
    for name in ("saved_model.pb", INDEX, SHARD):
        assert (folder / name).read_bytes() == (module / name).read_bytes()
    assert server.requested == [f"{NAME}?tf-hub-format=compressed"]
    tf.saved_model.load(str(folder))
    server.shutdown()
    server.server_close()
    assert hub.fetch(server.url) == folder


def test_a_cache_that_cannot_be_written_is_read(server, module, cache, monkeypatch):
    shutil.copytree(module, place(cache, server.url))
    monkeypatch.setattr(hub, "_check_writable", None)
    assert hub.fetch(server.url) == place(cache, server.url)
    assert server.requested == []


def test_the_temporary_folder_is_the_default(server, module, tmp_path, monkeypatch):
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server.answer = sending(archive(module))
    folder = place(tmp_path / "tfhub_modules", server.url)
    assert hub.fetch(server.url) == folder
    # It is run, so it must not be what anyone else on the machine put there.
    for open_to_all in (folder, folder.parent):
        open_to_all.chmod(0o777)
        with pytest.raises(OSError, match="Set TFHUB_CACHE_DIR to a folder of your own"):
            hub.fetch(server.url)
        assert not hub.is_cached(server.url)
        open_to_all.chmod(0o755)
    monkeypatch.setattr(hub.os, "getuid", lambda: os.stat(folder).st_uid + 1)
    with pytest.raises(OSError, match=f"{folder.parent} belongs to another user"):
        hub.fetch(server.url)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(folder.parent))  # a choice of one's own
    assert hub.fetch(server.url) == folder


def test_redirects_and_the_proxy_of_the_environment_are_followed(server, module, monkeypatch):
    def answer(request):
        if "stored" in request.path:
            return send(request, archive(module))
        request.send_response(302)
        request.send_header("Location", "http://storage.invalid/stored")
        return request.end_headers()

    server.answer = answer
    monkeypatch.setenv("http_proxy", server.root)
    hub.fetch("http://hub.invalid/module/1")
    asked = ["http://hub.invalid/module/1?tf-hub-format=compressed"]
    assert server.requested == [*asked, "http://storage.invalid/stored"]


def test_a_slow_download_is_not_cut_off(server, module, patience):
    body = archive(module)

    def answer(request):
        send(request, body[:-40], length=len(body))
        for i in range(len(body) - 40, len(body), 5):
            time.sleep(0.3)
            request.wfile.write(body[i : i + 5])

    server.answer = answer
    assert (hub.fetch(server.url) / SHARD).read_bytes() == (module / SHARD).read_bytes()


def test_kaggle_handles_are_pages_of_kaggle(server, module, monkeypatch):
    handle = "google/arbitrary-image-stylization-v1/tensorFlow1/256/2"
    monkeypatch.setattr(hub, "KAGGLE", f"{server.root}/models/")
    server.answer = sending(archive(module))
    folder = hub.fetch(handle)
    assert server.requested == [f"/models/{handle}?tf-hub-format=compressed"]
    assert hub.fetch(f"{server.root}/models/{handle}") == folder


def test_what_is_a_handle(tmp_path, monkeypatch):
    kaggle = "google/arbitrary-image-stylization-v1/TensorFlow1/256/2"
    assert hub.is_handle("https://tfhub.dev/google/magenta/arbitrary-image-stylization-v1-256/2")
    assert hub.is_handle(f"https://www.kaggle.com/models/{kaggle}") and hub.is_handle(kaggle)
    for path in ("folder", "/a/b/tensorFlow1/256/2", "a/b/c/d/2", "../b/tensorFlow1/c/2"):
        assert not hub.is_handle(path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / kaggle).mkdir(parents=True)
    assert not hub.is_handle(kaggle)


# The network.


def test_a_page_instead_of_an_archive(server):
    page = b"<html><head><title>Sign in\n to  Wi-Fi</title></head><body>...</body></html>"
    server.answer = sending(page, kind="text/html; charset=utf-8")
    assert_refused(server, "is a page", "'Sign in to Wi-Fi'", "proxy")
    server.answer = sending(b"Access   denied by policy", kind="text/plain")
    assert_refused(server, "is a page", "'Access denied by policy'")


def test_a_page_that_pretends(server):
    server.answer = sending(b"<html>" * 200)
    assert "does not appear to be a valid module" in failure(server.url, FileError)


def test_refusals(server):
    server.answer = sending(b"nothing here", status=404)
    assert_refused(server, "HTTP Error 404")
    server.answer = lambda request: None
    assert_refused(server, "closed connection without response")


def test_no_answer(server, impatient):
    done = threading.Event()
    server.answer = lambda request: done.wait(10)
    assert_refused(server, "no answer came within 1 s")
    done.set()


def test_the_sockets_own_limit_reads_the_same(server, impatient, monkeypatch):
    def urlopen(*_, **__):
        raise urllib.error.URLError(TimeoutError("timed out"))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert_refused(server, "no answer came within 1 s")


def test_a_name_that_hangs(server, impatient, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(5))
    assert_refused(server, "no answer came within 1 s")


def test_no_server(server, monkeypatch):
    server.shutdown()
    server.server_close()
    assert_refused(server, "Connection refused")
    monkeypatch.setenv("http_proxy", server.root)
    message = failure("http://module.invalid/1", NetworkError)
    assert "the environment names a proxy" in message and "Connection refused" in message


def test_no_such_host():
    message = failure("http://module.invalid/1", NetworkError)
    assert "http://module.invalid/1?tf-hub-format=compressed" in message
    assert "proxy" not in message.replace(hub.REMEDY, "")


@pytest.mark.parametrize("stalls", [False, True])
def test_a_download_that_breaks_off(server, module, cache, impatient, stalls):
    body = archive(module)
    done = threading.Event()

    def answer(request):
        send(request, body[: len(body) // 2], length=len(body))
        if stalls:
            done.wait(10)

    server.answer = answer
    message = failure(server.url, NetworkError)
    assert ("timed out" if stalls else f"{len(body) - len(body) // 2} bytes short") in message
    done.set()
    assert list(cache.iterdir()) == []
    server.answer = sending(body)
    hub.fetch(server.url)


def test_a_download_that_breaks_off_between_two_files(server, module, cache):
    """Which tarfile takes for the end of the archive."""
    body, half = archive(module, mode="w"), archive(module, names=["saved_model.pb"], mode="w")
    with tarfile.open(fileobj=io.BytesIO(half)) as tar:
        (member,) = tar
    size = member.offset_data + -(-member.size // 512) * 512
    server.answer = sending(body[:size], length=len(body))
    assert "bytes short" in failure(server.url, NetworkError)
    assert list(cache.iterdir()) == []


# The cache.


def test_an_archive_of_something_else(server, module, cache):
    server.answer = sending(archive(module, names=["saved_model.pb"]))
    message = failure(server.url, FileError)
    assert f"{place(cache, server.url)} is not a complete SavedModel" in message


@pytest.mark.parametrize("name", ["saved_model.pb", INDEX, SHARD])
@pytest.mark.parametrize("damage", [os.unlink, lambda path: path.write_bytes(b"")])
def test_half_a_module_in_the_cache(server, module, cache, name, damage):
    folder = place(cache, server.url)
    shutil.copytree(module, folder)
    damage(folder / name)
    message = failure(server.url, FileError)
    assert f"{folder} is not a complete SavedModel: it lacks {name}. Delete this folder" in message
    assert server.requested == [] and folder.exists()


def test_complete_folders(module, tmp_path):
    hub.check_complete(module)
    with pytest.raises(ValueError, match=f"{tmp_path} .*lacks saved_model.pb, {INDEX}, {SHARD}"):
        hub.check_complete(tmp_path)
    many = tmp_path / "many"
    shutil.copytree(module, many)
    (many / SHARD).rename(many / "variables/variables.data-00000-of-00002")
    with pytest.raises(ValueError, match=r"lacks variables/variables\.data-00001-of-00002\."):
        hub.check_complete(many)


@pytest.mark.parametrize("below", ["", "below"])
def test_a_cache_folder_that_is_a_file(server, tmp_path, monkeypatch, below):
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / below
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cache))
    message = failure(server.url, FileError)
    assert f"{cache} cannot be written" in message and "set TFHUB_CACHE_DIR" in message
    assert server.requested == []


def test_a_cache_that_is_not_local(server, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    with pytest.raises(OSError, match="gs://bucket/cache; set TFHUB_CACHE_DIR to a local folder"):
        hub.fetch(server.url)


def test_a_lock_file_left_behind(server, cache, impatient):
    lock = place(cache, server.url).with_suffix(".lock")
    cache.mkdir()
    lock.write_text("somehost.1234.abcd")
    message = failure(server.url, FileError)
    for word in (str(lock), "somehost.1234.abcd", "delete the lock file"):
        assert word in message
    assert server.requested == [] and lock.exists()


@pytest.mark.parametrize("succeeds", [True, False])
def test_another_process_is_waited_for(server, module, cache, patience, succeeds):
    folder = place(cache, server.url)
    lock, temporary = folder.with_suffix(".lock"), folder.with_suffix(".abcd.tmp")
    temporary.mkdir(parents=True)
    lock.write_text("somehost.1234.abcd")

    def download():
        for size in range(24):
            (temporary / "growing").write_bytes(b"x" * size)
            time.sleep(0.1)
        shutil.rmtree(temporary)
        if succeeds:
            shutil.copytree(module, folder)
        lock.unlink()

    threading.Thread(target=download).start()
    server.answer = sending(archive(module))
    assert hub.fetch(server.url) == folder
    assert len(server.requested) == (0 if succeeds else 1)


def test_no_tensorflow_hub(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_hub", None)
    with pytest.raises(ImportError, match="pip install 'setuptools<82' 'tensorflow-hub>=") as error:
        hub.fetch(server.url)
    assert str(error.value).endswith(hub.REMEDY)


# A single file.


NUMBERS = b"numbers" * 999


def fetch_file(server):
    digest = hashlib.sha256(NUMBERS).hexdigest()
    return hub.fetch_file(server.url, "lite-format=tflite", digest, "The remedy.")


def test_a_file_is_fetched_once(server, cache):
    server.answer = sending(NUMBERS, kind="application/octet-stream")
    path = fetch_file(server)
    assert path == place(cache, server.url).with_suffix(".tflite")
    assert path.read_bytes() == NUMBERS
    assert fetch_file(server) == path
    assert server.requested == [f"{NAME}?lite-format=tflite"]
    path.write_bytes(NUMBERS[:-1])  # damaged in the cache
    assert fetch_file(server).read_bytes() == NUMBERS
    assert len(server.requested) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (sending(b"<html><title>Log in</title></html>", kind="text/html"), "Log in"),
        (sending(b"half", kind="application/octet-stream", length=99), "broke off"),
        (sending(b"another", kind="application/octet-stream"), "another file"),
        (sending(b"", status=404), "404"),
    ],
)
def test_a_file_that_does_not_come_leaves_nothing(server, cache, answer, words):
    server.answer = answer
    with pytest.raises(ConnectionError, match=rf"{words}.*The remedy\."):
        fetch_file(server)
    assert not any(cache.iterdir())
