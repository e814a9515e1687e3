"""The cache folder is private and movable."""

import pwd
import stat

import pytest

from vipjax.runtime import cache
from vipjax.runtime.errors import UserError


def test_the_variable_moves_it_and_it_is_private(tmp_path, monkeypatch):
  monkeypatch.setenv("VIPJAX_CACHE", str(tmp_path / "new" / "cache"))
  folder = cache.cache_folder("xla")
  assert folder == tmp_path / "new" / "cache" / "xla"
  assert stat.S_IMODE(folder.stat().st_mode) == 0o700
  assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
  assert cache.cache_folder("xla") == folder


def test_without_the_variable_it_is_the_platforms(tmp_path, monkeypatch):
  monkeypatch.delenv("VIPJAX_CACHE", raising=False)
  monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
  assert cache.cache_folder("robots") == tmp_path / "vipjax" / "robots"


def test_without_a_home_folder(monkeypatch):
  monkeypatch.delenv("VIPJAX_CACHE", raising=False)
  for name in ("HOME", "XDG_CACHE_HOME"):
    monkeypatch.delenv(name, raising=False)

  def unknown(_):
    raise KeyError("no passwd entry")

  monkeypatch.setattr(pwd, "getpwuid", unknown)
  with pytest.raises(UserError, match="home folder for a cache.*environment variable VIPJAX_CACHE"):
    cache.cache_folder("xla")


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
  (tmp_path / "file").touch()
  monkeypatch.setenv("VIPJAX_CACHE", str(tmp_path / "file"))
  with pytest.raises(UserError, match="cache folder .*set the environment variable VIPJAX_CACHE"):
    cache.cache_folder("xla")
