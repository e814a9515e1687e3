"""The pages of the API: they build without a warning, and every public name is on them."""

import pathlib
import re
import subprocess
import sys

import pytest

import vipjax

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
  """The anchors of each page, by its path."""
  pytest.importorskip("pdoc")
  out = tmp_path_factory.mktemp("api")
  command = [sys.executable, "-m", "launch.api", f"--out={out}"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout.split()[-1] == str(out / "index.html")
  return {
    page.relative_to(out).as_posix(): set(re.findall(r'<section id="([\w.]+)"', page.read_text()))
    for page in out.rglob("*.html")
  }


def public_names(room):
  module = getattr(vipjax, room)
  own = [
    name
    for name, item in vars(module).items()
    if getattr(item, "__module__", "") == f"vipjax.{room}"
  ]
  return set(getattr(module, "__all__", [name for name in own if not name.startswith("_")]))


def test_every_public_name_is_there(pages):
  functions = set(vipjax.__all__) - set(vipjax.ROOMS)
  assert functions and functions <= pages["vipjax.html"]
  for room in vipjax.ROOMS:
    assert len(public_names(room)) > 1
    assert public_names(room) <= pages[f"vipjax/{room}.html"], room
  assert {"Video", "VideoSet", "Transition"} <= pages["vipjax/types.html"]


@pytest.mark.parametrize("room", vipjax.ROOMS)
def test_every_public_name_has_a_docstring(room):
  module = getattr(vipjax, room)
  public = [getattr(module, name) for name in public_names(room)]
  assert [item.__name__ for item in public if callable(item) and not item.__doc__] == []
