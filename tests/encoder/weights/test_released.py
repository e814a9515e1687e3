"""Fetching VIP's released weights, from a server on this machine."""

import hashlib
import http.server
import io
import json
import pathlib
import subprocess
import sys
import threading
import urllib.request

import chex
import numpy as np
import pytest

import vipjax
from tests.encoder.seeded import SMALL, assert_one_sentence, seeded_state
from vipjax.encoder import ResNetConfig
from vipjax.encoder.weights import released
from vipjax.encoder.weights.download import fetch
from vipjax.encoder.weights.torch_export import write_archive
from vipjax.runtime.errors import UserError

REPOSITORY = pathlib.Path(__file__).parents[3]


def archive_bytes(config):
  file = io.BytesIO()
  write_archive(file, seeded_state(config))
  return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves `server.content` with ranges; `server.break_after` bytes the connection ends, once."""

  def do_GET(self):  # the name that http.server wants
    server = self.server
    server.requests.append(dict(self.headers))
    if self.path != "/model.pt":
      return self.send_error(404)
    start = 0
    if "Range" in self.headers and self.headers.get("If-Range") == server.etag:
      start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    body = server.content[start:]
    self.send_response(206 if start else 200)
    if start:
      total = len(server.content)
      self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    self.send_header("ETag", server.etag)
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    if server.break_after:
      body = body[: server.break_after.pop(0)]
    self.wfile.write(body)

  def log_message(self, *unused):
    pass


@pytest.fixture
def server(monkeypatch):
  for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
    monkeypatch.delenv(name, raising=False)
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    server.content, server.etag, server.requests, server.break_after = b"", '"1"', [], []
    server.address = f"http://127.0.0.1:{server.server_port}/model.pt"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()


@pytest.fixture
def cache(monkeypatch, tmp_path):
  monkeypatch.setenv("VIPJAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.delenv("VIPJAX_VIP_CHECKPOINT", raising=False)
  # The real network would be 100 MB of random numbers: a small one stands in for it.
  monkeypatch.setattr(released, "EXPECTED", SMALL)
  return tmp_path / "cache" / "weights"


def test_download_is_whole_and_its_checksum_told(server, tmp_path):
  server.content = bytes(range(256)) * 20
  seen = fetch(server.address, tmp_path / "file")
  assert (tmp_path / "file").read_bytes() == server.content
  assert seen == {"size": 5120, "sha256": hashlib.sha256(server.content).hexdigest()}
  assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_broken_download_goes_on(server, tmp_path):
  server.content = bytes(range(256)) * 20
  server.break_after = [1000, 500]
  fetch(server.address, tmp_path / "file", pause=0)
  assert (tmp_path / "file").read_bytes() == server.content
  assert [request.get("Range") for request in server.requests] == [
    None,
    "bytes=1000-",
    "bytes=1500-",
  ]


def test_a_download_that_stays_broken_goes_on_at_the_next_call(server, tmp_path):
  server.content = bytes(range(256)) * 20
  server.break_after = [1000, 0]
  with pytest.raises(UserError, match="1000 of 5120 bytes") as error:
    fetch(server.address, tmp_path / "file", attempts=2, pause=0)
  assert_one_sentence(error)
  assert not (tmp_path / "file").exists()
  fetch(server.address, tmp_path / "file")
  assert (tmp_path / "file").read_bytes() == server.content
  assert server.requests[-1]["Range"] == "bytes=1000-"


def test_another_file_at_the_server_starts_over(server, tmp_path):
  server.content, server.break_after = b"old" * 1000, [1000]
  with pytest.raises(UserError, match="1000 of 3000"):
    fetch(server.address, tmp_path / "file", attempts=1)
  server.content, server.etag = b"new" * 1000, '"2"'
  fetch(server.address, tmp_path / "file")
  assert (tmp_path / "file").read_bytes() == server.content


def test_a_wrong_checksum_is_deleted(server, tmp_path):
  server.content = b"something else"
  with pytest.raises(UserError, match="expected sha256 0000") as error:
    fetch(server.address, tmp_path / "file", sha256="0" * 64)
  assert_one_sentence(error)
  assert not list(tmp_path.iterdir())


def test_only_https_is_taken_from_elsewhere(tmp_path):
  for address in ("http://example.org/model.pt", "file:///etc/passwd", "ftp://127.0.0.1/x"):
    with pytest.raises(UserError, match="HTTPS"):
      fetch(address, tmp_path / "file")


def test_released_weights_are_fetched_once_converted_and_kept(server, cache):
  server.content = archive_bytes(SMALL)
  value = released.load_released(server.address)
  assert value.config == SMALL
  assert value.metadata["licence"] == "CC BY-NC 4.0"
  kernel = seeded_state(SMALL)["module.convnet.fc.weight"].T
  np.testing.assert_array_equal(value.variables["params"]["fc"]["kernel"], kernel)

  folder = cache / "vip-resnet50"
  assert sorted(path.name for path in folder.iterdir()) == [
    "config.json", "manifest.json", "model.safetensors",
  ]  # fmt: skip
  manifest = json.loads((folder / "manifest.json").read_text())
  assert manifest["address"] == server.address
  assert manifest["size"] == len(server.content)
  assert manifest["sha256"] == hashlib.sha256(server.content).hexdigest()

  again = vipjax.load("vip-resnet50")  # the official address is not asked
  chex.assert_trees_all_equal(again.variables, value.variables)
  assert len(server.requests) == 1
  assert sorted(path.name for path in cache.iterdir()) == ["vip-resnet50", "vip-resnet50.lock"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
@pytest.mark.parametrize("remove", [True, False])
def test_a_changed_cache_is_refused(server, cache, name, remove):
  server.content = archive_bytes(SMALL)
  released.load_released(server.address)
  path = cache / "vip-resnet50" / name
  data = bytearray(path.read_bytes())
  data[-4] ^= 1
  path.unlink() if remove else path.write_bytes(data)
  with pytest.raises(UserError, match="vip-resnet50") as error:
    released.load_released(server.address)
  assert_one_sentence(error)
  assert len(server.requests) == 1


def test_a_missing_file_at_the_server_is_told_with_the_ways_to_proceed(server, cache):
  with pytest.raises(UserError, match="404") as error:
    released.load_released(server.address.replace("model", "other"))
  assert_one_sentence(error)
  for way in ("connect to the network", "VIPJAX_VIP_CHECKPOINT", "launch.convert_weights"):
    assert way in str(error.value)


def test_no_network_is_told_with_the_address(cache, monkeypatch):
  def fail(*unused, **also_unused):
    raise urllib.error.URLError("no route to host")

  monkeypatch.setattr(urllib.request, "urlopen", fail)
  monkeypatch.setattr("time.sleep", lambda seconds: None)
  with pytest.raises(UserError, match="no route to host") as error:
    vipjax.load("vip-resnet50")
  assert_one_sentence(error)
  assert released.ADDRESS in str(error.value)


def test_a_web_page_instead_of_weights_is_not_kept(server, cache):
  server.content = b"<!DOCTYPE html><html>log in</html>"
  with pytest.raises(UserError, match="web page"):
    released.load_released(server.address)
  server.content = archive_bytes(SMALL)
  assert released.load_released(server.address).config == SMALL


def test_another_network_is_not_taken_for_the_released_one(server, cache):
  server.content = archive_bytes(ResNetConfig("resnet34", 8, 16))
  with pytest.raises(UserError, match="expected VIP's"):
    released.load_released(server.address)


def test_the_users_own_file_comes_first(server, cache, monkeypatch, tmp_path):
  path = tmp_path / "model.pt"
  monkeypatch.setenv("VIPJAX_VIP_CHECKPOINT", str(path))
  with pytest.raises(UserError, match="got no file"):
    vipjax.load("vip-resnet50")
  path.write_bytes(archive_bytes(SMALL))
  assert vipjax.load("vip-resnet50").metadata["name"] == "vip-resnet50"
  assert not server.requests


def test_two_processes_download_once(server, cache):
  server.content = archive_bytes(SMALL)
  program = (
    "import sys; from vipjax.encoder.weights import released; "
    f"released.EXPECTED = released.ResNetConfig(**{vars(SMALL)}); "
    "print(released.load_released(sys.argv[1]).config.arch)"
  )
  command = [sys.executable, "-c", program, server.address]
  processes = [
    subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)
  ]
  outputs = [process.communicate(timeout=120)[0] for process in processes]
  assert outputs == ["resnet18\n", "resnet18\n"]
  assert [process.returncode for process in processes] == [0, 0]
  assert len(server.requests) == 1


def test_the_manifest_of_third_party_names_what_the_code_fetches():
  manifest = json.loads((REPOSITORY / "third_party" / "vip.json").read_text())
  assert manifest["address"] == released.ADDRESS
  assert manifest["licence"] == released.LICENCE
  assert (REPOSITORY / manifest["used_by"]).is_file()


def test_convert_weights_both_ways(tmp_path):
  config = ResNetConfig("resnet18", 8, 16)
  (tmp_path / "model.pt").write_bytes(archive_bytes(config))

  def convert(*flags):
    command = [sys.executable, "-m", "launch.convert_weights", *flags]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

  done = convert(f"--checkpoint={tmp_path}/model.pt", f"--out={tmp_path}/folder")
  assert done.returncode == 0, done.stderr
  assert vipjax.load(tmp_path / "folder").config == config
  done = convert(f"--checkpoint={tmp_path}/folder", f"--out={tmp_path}/again.pt")
  assert done.returncode == 0, done.stderr
  first, second = (vipjax.load(tmp_path / name).variables for name in ("model.pt", "again.pt"))
  chex.assert_trees_all_equal(first, second)
  done = convert(f"--checkpoint={tmp_path}/nothing.pt", f"--out={tmp_path}/other")
  assert done.returncode == 1
  assert done.stderr.startswith("error: expected") and done.stderr.count("\n") == 1
