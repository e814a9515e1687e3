"""The arms' files come out of a wheel once, checked, and errors are one sentence."""

from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
import threading
import time
import zipfile

import pytest

from vipjax.runtime.errors import UserError
from vipjax.scene import robosuite

LICENCE, ROBOT = "robosuite-9.dist-info/licenses/LICENSE", "robosuite/models/assets/robot.xml"
CONTENTS = {LICENCE: b"do as you like", ROBOT: b"<mujoco/>", "robosuite/code.py": b"import this"}


class Shop:
  """A pretended pip, which writes a wheel into the folder that it is given."""

  def __init__(self, monkeypatch, tmp_path):
    self.cache = tmp_path / "cache"
    self.robots = self.cache / "robots"
    self.folder = self.robots / "robosuite-9"
    self.fetched, self.answer = 0, 0
    self.wheel = tmp_path / "robosuite-9.whl"
    with zipfile.ZipFile(self.wheel, "w") as archive:
      for name, content in CONTENTS.items():
        archive.writestr(name, content)
    self.manifest = {
      "package": "robosuite",
      "version": "9",
      "wheel": {"name": self.wheel.name, "size": 1, "sha256": digest(self.wheel.read_bytes())},
      "files": [
        {"name": name, "size": len(CONTENTS[name]), "sha256": digest(CONTENTS[name])}
        for name in (LICENCE, ROBOT)
      ],
    }
    monkeypatch.setenv("VIPJAX_CACHE", str(self.cache))
    monkeypatch.setattr(robosuite, "read_manifest", lambda: self.manifest)
    monkeypatch.setattr(subprocess, "run", self.run)

  def run(self, command, **unused):
    self.fetched += 1
    self.command = command
    time.sleep(0.05)
    if self.answer == 0:
      target = pathlib.Path(command[command.index("-d") + 1])
      (target / self.wheel.name).write_bytes(self.wheel.read_bytes())
    return subprocess.CompletedProcess(command, self.answer, "", "WARNING: ...\nERROR: no network")


def digest(content):
  return hashlib.sha256(content).hexdigest()


def assets():
  """As in a new process."""
  return robosuite.robosuite_assets.__wrapped__()


@pytest.fixture
def shop(monkeypatch, tmp_path):
  return Shop(monkeypatch, tmp_path)


def test_files_are_fetched_once_and_only_those_listed(shop):
  folder = assets()
  assert folder == shop.folder / "robosuite/models/assets"
  assert (folder / "robot.xml").read_bytes() == CONTENTS[ROBOT]
  found = {p.relative_to(shop.folder).as_posix() for p in shop.folder.rglob("*") if p.is_file()}
  assert found == {LICENCE, ROBOT}
  assert shop.command[1:4] == ["-m", "pip", "download"]
  assert {"--no-deps", "--only-binary=:all:", "robosuite==9"} <= set(shop.command)
  assert assets() == folder and shop.fetched == 1
  # Nothing else is left: no wheel, no half-made folder.
  assert sorted(p.name for p in shop.robots.iterdir()) == ["robosuite-9", "robosuite-9.lock"]


def test_many_at_once_fetch_once(shop):
  results = []
  threads = [threading.Thread(target=lambda: results.append(assets())) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(results) == 4 and len(set(results)) == 1
  assert shop.fetched == 1


def test_offline_is_one_sentence_and_leaves_nothing(shop):
  shop.answer = 1
  with pytest.raises(UserError) as error:
    assets()
  message = str(error.value)
  assert message.startswith("expected to fetch the robot arms with pip, got 'ERROR: no network'; ")
  assert f"put robosuite-9.whl (sha256 {digest(shop.wheel.read_bytes())}) into" in message
  assert str(shop.robots) in message and "\n" not in message
  assert [p.name for p in shop.robots.iterdir()] == ["robosuite-9.lock"]
  shop.answer = 0
  assert assets().is_dir()


def test_a_wheel_that_the_user_put_there_is_taken(shop):
  shop.robots.mkdir(parents=True)
  (shop.robots / shop.wheel.name).write_bytes(shop.wheel.read_bytes())
  assert assets().is_dir() and shop.fetched == 0


def test_another_wheel_is_refused(shop):
  shop.manifest["wheel"]["sha256"] = digest(b"another")
  with pytest.raises(
    UserError, match=r"^expected robosuite-9.whl with sha256 .*, got another file"
  ):
    assets()
  assert not shop.folder.exists()


def test_a_file_that_is_not_the_manifests_is_never_used(shop):
  shop.manifest["files"][1]["sha256"] = digest(b"<mujoco></mujoco>")
  with pytest.raises(UserError, match=r"^expected .*robot.xml with sha256 .*, got another"):
    assets()
  assert not shop.folder.exists()


@pytest.mark.parametrize("content", [b"<mujoco?>", b"<mujoco", None])
def test_a_file_damaged_later_is_told(shop, content):
  path = assets() / "robot.xml"
  path.unlink() if content is None else path.write_bytes(content)
  with pytest.raises(UserError, match=r"^expected .*robot.xml with .*; delete .*robosuite-9 to"):
    assets()


def test_the_manifest():
  manifest = robosuite.read_manifest()
  names = [file["name"] for file in manifest["files"]]
  assert len(set(names)) == len(names) > 50
  for file in manifest["files"]:
    assert set(file) == {"name", "size", "sha256", "licence"}
    assert len(file["sha256"]) == 64 and file["size"] > 0 and file["licence"] == "MIT"
  assert any(name.endswith("/LICENSE") for name in names)
  assert manifest["wheel"]["name"].startswith(f"robosuite-{manifest['version']}-")
  # pip knows where packages come from, this repository does not.
  assert "://" not in json.dumps(manifest).replace("https://github.com/", "")


def test_the_manifest_of_an_installed_package(monkeypatch, tmp_path):
  package = tmp_path / "site" / "vipjax"
  (package / "third_party").mkdir(parents=True)
  (package / "third_party" / "robosuite.json").write_text('{"version": "9"}')
  monkeypatch.setattr(robosuite, "__file__", str(package / "scene" / "robosuite.py"))
  assert robosuite.read_manifest() == {"version": "9"}
  (package / "third_party" / "robosuite.json").unlink()
  with pytest.raises(UserError, match=r"^expected robosuite.json .*; install vipjax again\.$"):
    robosuite.read_manifest()


def test_the_real_files(arms_files):
  for name in ("robots/panda/robot.xml", "robots/jaco/robot.xml"):
    assert (arms_files / name).is_file()
  licence = next(arms_files.parents[2].glob("*.dist-info/licenses/LICENSE"))
  assert "MIT License" in licence.read_text()
