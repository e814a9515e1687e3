"""The launcher that needs no config: videos in, a page out."""

import csv
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.compilation import FAST
from tests.report.test_page import Page
from tests.videos.clips import moving_picture
from vipjax import encoder
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.report import own_videos
from vipjax.runtime import places
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_video, read_videos, write_image, write_video

TEA = "pour $$tea$ <b>&_%{x}.mp4"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def value():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16), {"licence": "none <needed>"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("footage")
  write_video(folder / TEA, moving_picture(30, 36, 64), 15)
  write_video(folder / "wide.gif", moving_picture(8, 16, 40), 10)
  return folder


def launch(*flags):
  # A notebook's cell hands on the name of its own backend.
  backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
  environment = {**os.environ, **backend, "XLA_FLAGS": FAST}
  command = [sys.executable, "-m", "launch.curves", *map(str, flags)]
  return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_page_of_a_folder(folder, value, tmp_path):
  encoder.save(tmp_path / "encoder", value)
  out = tmp_path / "out"
  flags = (f"--videos={folder}", f"--encoder={tmp_path / 'encoder'}", f"--out={out}")
  done = launch(*flags, "--max_frames=12")
  assert done.returncode == 0, done.stderr
  assert done.stdout.split()[-1] == str(out / "curves.html")
  page = Page((out / "curves.html").read_text(encoding="utf-8"))
  for words in (
    TEA,
    "wide.gif",
    "none <needed>",
    "python -m launch.curves",
    "2 of 2",
    f"{TEA}, last frame",
  ):
    assert words in page.text
  # The player, and a film of each.
  assert len(page.all("video")) == 3
  with (out / "curves.csv").open() as file:
    rows = list(csv.DictReader(file))
  poured = [row for row in rows if row["video"] == TEA]
  assert len(poured) == 12 and float(poured[-1]["distance"]) == 0.0
  films = read_videos(out / "films")
  assert [len(film.frames) for film in films] == [12, 8]
  assert films[0].fps == pytest.approx(15 * 11 / 29, rel=1e-3)
  again = launch(*flags)
  assert again.returncode == 1 and "pass --overwrite" in again.stderr


def test_a_film_as_it_comes(folder, value, tmp_path):
  encoder.save(tmp_path / "encoder", value)
  write_image(tmp_path / "goal.png", moving_picture(30, 36, 64)[-1])
  flags = (f"--encoder={tmp_path / 'encoder'}", f"--goal={tmp_path / 'goal.png'}", "--port=0")
  done = launch(f"--live={folder / TEA}", *flags)
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("http://127.0.0.1:")
  assert "of 30 frames; 1.9 s: distance" in done.stderr


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    ((), "error: expected --videos=VALUE, got none; --help says what it takes."),
    (
      ("--videos=x", "--goals=most"),
      "error: expected another --goals, got 'most'; value should be one of <mean|nearest>.",
    ),
    (("--videos=x", "--max_frames=few"), "error: expected another --max_frames, got 'few'; "),
    (("--videos=x", "--overwrite=7"), "true or false for --overwrite"),
  ],
)
def test_flags_that_are_missing_or_wrong(flags, sentence):
  done = launch(*flags)
  assert done.returncode == 1 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_distances_are_those_of_the_value_function(folder, value):
  videos = open_videos(folder / TEA)
  (measured,) = own_videos.measure(value, videos, "frame=0")
  frames = videos[0].read().frames
  np.testing.assert_allclose(
    measured.curve.distances, value.distance(frames, frames[0]), rtol=1e-4, atol=1e-4
  )
  assert measured.curve.times[-1] == pytest.approx(29 / 15)
  assert measured.warnings == []


def test_times_of_a_variable_rate_are_those_of_the_file(value, tmp_path):
  times = np.array([0, 0.1, 0.2, 5.2, 5.3, 5.4])
  write_video(tmp_path / "pause.mp4", moving_picture(6, 16, 16), 10, times=times)
  measured = own_videos.measure(value, open_videos(tmp_path))
  places.make_page_folder(tmp_path / "out" / own_videos.PAGE, False)
  own_videos.write_curves(tmp_path / "out", measured, {"videos": "v", "encoder": "e"}, 0.0)
  with (tmp_path / "out/curves.csv").open() as file:
    np.testing.assert_allclose([float(row["time_s"]) for row in csv.DictReader(file)], times)
  # The cursor follows the film, so the film keeps the pace of the curve.
  for film in ("films/00_pause-mp4.mp4", "shown/00.mp4"):
    np.testing.assert_allclose(read_video(tmp_path / "out" / film).times, times, atol=1e-4)


def test_a_page_of_pictures_that_do_not_change(value, tmp_path):
  write_video(tmp_path / "black.mp4", np.zeros((6, 16, 16, 3), np.uint8), 10)
  measured = own_videos.measure(value, open_videos(tmp_path))
  places.make_page_folder(tmp_path / "out" / own_videos.PAGE, False)
  facts = {"videos": "v", "encoder": "e"}
  path = own_videos.write_curves(tmp_path / "out", measured, facts, 0.0)
  assert "The pictures do not change" in Page(path.read_text()).text


def test_a_goal_that_does_not_fit_is_told_on_the_page(folder, value, tmp_path):
  write_image(tmp_path / "goal.png", moving_picture(1, 40, 20)[0])
  measured = own_videos.measure(value, open_videos(folder), str(tmp_path / "goal.png"))
  places.make_page_folder(tmp_path / "out" / own_videos.PAGE, False)
  facts = {"videos": "v", "encoder": "e"}
  path = own_videos.write_curves(tmp_path / "out", measured, facts, 0.0)
  assert "goal.png) is 40x20 and the video 36x64" in Page(path.read_text()).text


def test_what_speaks_against_a_page_is_told_by_the_launcher_too(value, tmp_path):
  encoder.save(tmp_path / "encoder", value)
  np.save(tmp_path / "black.npy", np.zeros((2, 16, 16, 3), np.uint8))
  done = launch(
    f"--videos={tmp_path / 'black.npy'}", f"--encoder={tmp_path / 'encoder'}",
    f"--out={tmp_path / 'out'}",
  )  # fmt: skip
  assert done.returncode == 0 and "warning: The pictures do not change" in done.stderr
  assert done.stdout == f"{tmp_path / 'out/curves.html'}\n"


def test_sizes_are_those_of_the_video_not_of_what_is_shown(value, tmp_path):
  np.save(tmp_path / "a.npy", moving_picture(2, 320, 480))
  write_image(tmp_path / "goal.png", moving_picture(1, 40, 20)[0])
  (measured,) = own_videos.measure(
    value, open_videos(tmp_path / "a.npy"), str(tmp_path / "goal.png")
  )
  assert measured.video.frames.shape[1] == 256
  assert "is 40x20 and the video 320x480" in measured.warnings[0]


def test_a_file_where_the_page_should_lie_is_told_before_the_work(tmp_path):
  (tmp_path / "out").touch()
  with pytest.raises(UserError, match="a folder at .*out, got a file in the way"):
    places.make_page_folder(tmp_path / "out" / own_videos.PAGE, overwrite=True)


@pytest.mark.parametrize(
  ("frames", "maximum", "part"), [(1, 150, "at least two frames"), (5, 1, "max_frames=1")]
)
def test_too_few_frames(tmp_path, value, frames, maximum, part):
  np.save(tmp_path / "a.npy", moving_picture(frames, 16, 16))
  with pytest.raises(UserError, match=part):
    own_videos.measure(value, open_videos(tmp_path), max_frames=maximum)
