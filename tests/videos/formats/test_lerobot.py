"""LeRobot data sets by its own writer: films at another rate, metadata that do not hold."""

from __future__ import annotations

import copy
import fractions
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from tests.videos.clips import assert_one_sentence, check_episodes, encode, psnr
from tests.videos.drawn import EPISODES, episode
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_videos

HERE = pathlib.Path(__file__).parent
DATA = HERE.parents[1] / "testdata"
LEROBOT = ["lerobot_v30", "lerobot_v21", "lerobot_v21_images"]
HAS_LEROBOT = importlib.util.find_spec("lerobot") is not None
ROWS = "data/chunk-000/file-000.parquet"
RECORDS = "meta/episodes/chunk-000/file-000.parquet"
FILM = "videos/observation.images.{}/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory):
  """Folders of LeRobot data sets by name; freshly written ones too, where lerobot is installed."""

  def find(name):
    if name in LEROBOT:
      return DATA / name
    folder = tmp_path_factory.mktemp("lerobot") / name
    command = [sys.executable, str(HERE.parent / "write_lerobot.py"), str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder

  return find


@pytest.mark.parametrize(
  "name",
  [
    *LEROBOT,
    *[
      pytest.param(kind, marks=pytest.mark.skipif(not HAS_LEROBOT, reason="needs lerobot"))
      for kind in ("video", "image")
    ],
  ],
)
def test_lerobot(lerobot, name):
  folder = lerobot(name)
  check_episodes(folder, {"top": "top", "wrist": "wrist"}, exact="image" in name)
  (video,) = read_videos(folder, view="observation.images.wrist", task="close the drawer")
  assert (video.view, video.episode) == ("wrist", 1)
  assert [each.metadata["episode"] for each in open_videos(folder, success=True, view="top")] == [
    0, 2,
  ]  # fmt: skip


def test_lerobot_frames_in_the_middle_of_a_shared_film():
  (lazy,) = open_videos(DATA / "lerobot_v30", view="top", episodes=[2])
  frames = episode("top", 2)
  assert len(lazy) == 6 and psnr(lazy[3], frames[3]) > 30 and psnr(lazy[[5]], frames[[5]]) > 30


@pytest.mark.parametrize(
  ("change", "part"),
  [
    ({"codebase_version": "v1.6"}, "got v1.6"),
    ({"features": {"action": {"dtype": "float32"}}}, "expected a camera"),
  ],
)
def test_lerobot_that_cannot_be_read(tmp_path, change, part):
  folder = tmp_path / "set"
  shutil.copytree(DATA / "lerobot_v21", folder)
  info = json.loads((folder / "meta/info.json").read_text())
  (folder / "meta/info.json").write_text(json.dumps({**info, **change}))
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, folder, part)


def test_lerobot_with_a_film_missing(tmp_path):
  folder = tmp_path / "set"
  shutil.copytree(DATA / "lerobot_v30", folder)
  shutil.rmtree(folder / "videos")
  with pytest.raises(UserError) as error:
    read_videos(folder)
  assert_one_sentence(error, "a film of the data set", "file-000.mp4")


@pytest.fixture
def v30(tmp_path):
  return pathlib.Path(shutil.copytree(DATA / "lerobot_v30", tmp_path / "v30"))


@pytest.fixture
def v21(tmp_path):
  return pathlib.Path(shutil.copytree(DATA / "lerobot_v21", tmp_path / "v21"))


def change_json(path, change):
  value = json.loads(path.read_text())
  change(value)
  path.write_text(json.dumps(value))


def change_column(path, name, values):
  """Replaces or adds a column; None takes it out."""
  table = parquet.read_table(path)
  if name in table.column_names:
    table = table.drop_columns([name])
  if values is not None:
    table = table.append_column(name, arrow.array(values))
  parquet.write_table(table, path)


def film(camera, repeats):
  """Every frame of all episodes so many times."""
  frames = np.concatenate([episode(camera, number) for number in range(3)])
  return np.repeat(frames, repeats, axis=0)


def check_frames(folder, positions=None):
  """Whether each row shows what was drawn for it, by both ways of reading."""
  whole, lazy = read_videos(folder), open_videos(folder)
  assert [video.episode for video in whole] == [0, 0, 1, 1, 2, 2]
  for video, other in zip(whole, lazy, strict=True):
    drawn = episode(video.view, video.episode)
    shown = range(len(drawn)) if positions is None else positions[video.episode]
    assert len(video.frames) == len(other) == len(shown)
    np.testing.assert_array_equal(video.frames, other[:])
    np.testing.assert_array_equal(video.frames[-1], other[len(other) - 1])
    for frame, time in zip(video.frames, shown, strict=True):
      assert np.argmax([psnr(frame, each) for each in drawn]) == time


@pytest.mark.parametrize("rate", [30, 20, 15])
def test_films_at_another_rate_than_the_rows(v30, rate):
  # At 15 frames a second every second row falls between two frames; both are the same.
  for camera in ("top", "wrist"):
    times = np.arange(18 * rate // 10) / rate
    frames = film(camera, 1)[np.floor(times * 10 + 0.51).astype(int).clip(0, 17)]
    encode(v30 / FILM.format(camera), frames, "libx264", rate=rate)
  check_frames(v30)


def test_films_of_single_episodes_at_another_rate(v21):
  for number in range(3):
    for camera in ("top", "wrist"):
      path = f"videos/chunk-000/observation.images.{camera}/episode_{number:06d}.mp4"
      encode(v21 / path, np.repeat(episode(camera, number), 3, axis=0), "libx264", rate=30)
  check_frames(v21)


def test_films_a_little_slower_than_the_rows(v30):
  # Row 17 is at 1.7 s and frame 17 at 1.7017 s, as of films at 29.97 beside rows at 30.
  for camera in ("top", "wrist"):
    rate = fractions.Fraction(10000, 1001)
    encode(v30 / FILM.format(camera), film(camera, 1), "libx264", rate=rate)
  check_frames(v30)


def test_rows_that_were_left_out(v30):
  """Rows go by their own times: their numbers say nothing once some are gone."""
  table = parquet.read_table(v30 / ROWS)
  kept = {number: list(range(length))[::2] for number, (length, _, _) in enumerate(EPISODES)}
  table = table.take([i for i in range(18) if table["frame_index"][i].as_py() % 2 == 0])
  parquet.write_table(table, v30 / ROWS)
  frame_index = np.concatenate([np.arange(len(each)) for each in kept.values()])
  change_column(v30 / ROWS, "frame_index", frame_index)
  change_column(v30 / RECORDS, "length", [len(each) for each in kept.values()])
  check_frames(v30, kept)
  (video,) = open_videos(v30, view="top", episodes=[1], fps=5)
  assert list(video.positions) == [0, 1, 2, 3]


def test_rows_without_times(v30):
  change_column(v30 / ROWS, "timestamp", None)
  check_frames(v30)


@pytest.mark.parametrize(
  ("values", "parts"),
  [
    (np.arange(18) / 10 + 1.0, ["expected a frame at 3.400 s", FILM.format("top"), RECORDS]),
    (np.zeros(18), ["got 0 in row 1 after 0", RECORDS]),
    (np.full(18, np.nan), ["timestamp", "null or nan", ROWS]),
  ],
)
def test_times_that_do_not_fit_the_film(v30, values, parts):
  change_column(v30 / ROWS, "timestamp", values)
  with pytest.raises(UserError) as error:
    open_videos(v30, view="top", episodes=[2])[0][:]
  assert_one_sentence(error, *parts)


def test_a_film_with_too_few_frames(v30):
  for camera in ("top", "wrist"):
    encode(v30 / FILM.format(camera), film(camera, 1)[:17], "libx264", rate=10)
  assert len(read_videos(v30, episodes=[0, 1])) == 4
  with pytest.raises(UserError) as error:
    read_videos(v30, episodes=[2], view="top")
  # So it is whichever frame is asked for.
  with pytest.raises(UserError) as again:
    open_videos(v30, episodes=[2], view="top")[0][0]
  assert str(error.value) == str(again.value)
  assert_one_sentence(error, FILM.format("top"), "row 5 of episode 2", "1.600 s")


def test_rows_and_records_of_different_lengths(v30):
  change_column(v30 / RECORDS, "length", [5, 6, 6])
  assert len(read_videos(v30, episodes=[2])) == 2
  with pytest.raises(UserError) as error:
    read_videos(v30)
  assert_one_sentence(error, "6 rows of episode 1", RECORDS, ROWS, "got 7")


def test_two_episodes_of_one_number(v21):
  path = v21 / "meta/episodes.jsonl"
  path.write_text(path.read_text().replace('"episode_index": 2', '"episode_index": 1'))
  with pytest.raises(UserError) as error:
    read_videos(v21)
  assert_one_sentence(error, "got two of 1")


def test_lines_end_with_a_line_feed_alone(v21):
  path = v21 / "meta/episodes.jsonl"
  task = "open\u2028the\u0085drawer"
  text = path.read_text().replace("open the drawer", task)
  path.write_text(text + "\n", encoding="utf-8")
  assert {video.task for video in read_videos(v21, success=True)} == {task}


@pytest.mark.parametrize("name", ["lerobot_v30", "lerobot_v21"])
@pytest.mark.parametrize(
  "mark",
  [
    {"info": {"is_depth_map": True}},
    {"info": {"video.is_depth_map": True}},
    {"info": {}, "video_info": {"video.is_depth_map": True}},
  ],
)
def test_depth_is_no_picture(tmp_path, name, mark):
  folder = pathlib.Path(shutil.copytree(DATA / name, tmp_path / name))
  change_json(
    folder / "meta/info.json", lambda i: i["features"]["observation.images.wrist"].update(mark)
  )
  assert {video.view for video in read_videos(folder)} == {"top"}


def test_another_storage_format(v30):
  change_json(v30 / "meta/info.json", lambda info: info.update(storage_format="lance"))
  with pytest.raises(UserError) as error:
    read_videos(v30)
  assert_one_sentence(error, v30, "'lance'", "convert it")
  change_json(v30 / "meta/info.json", lambda info: info.update(storage_format="lerobot"))
  check_frames(v30)


@pytest.mark.parametrize("place", ["meta/info.json", RECORDS, ROWS, FILM.format("top")])
def test_dead_links(v30, place):
  """A cache of the hub that was copied without what its links point at."""
  (v30 / place).unlink()
  (v30 / place).symlink_to("../../../../blobs/" + "0" * 40)
  with pytest.raises(UserError) as error:
    read_videos(v30)
  assert_one_sentence(error, v30 / place, "the dead link")


# What is put in the place of each value that is read, but for taking it away.
WRONG = [None, -1, 0, 1.5, float("nan"), True, "x", "", [], [1], {}, "{nothing}", "/x", "../x"]
MISSING = object()
CAMERA = "observation.images.top"
READ = [
  ("codebase_version",), ("storage_format",), ("fps",), ("data_path",), ("video_path",),
  ("robot_type",), ("chunks_size",), ("features",), ("features", CAMERA),
  ("features", CAMERA, "dtype"), ("features", CAMERA, "info"),
  ("features", CAMERA, "info", "is_depth_map"), ("features", "next.success"),
  ("features", "next.success", "dtype"),
]  # fmt: skip


def changed(value, keys, new):
  """A copy of a tree of dicts with one of its values another."""
  value = copy.deepcopy(value)
  inner = value
  for key in keys[:-1]:
    inner = inner.setdefault(key, {})
  if new is MISSING:
    inner.pop(keys[-1], None)
  else:
    inner[keys[-1]] = new
  return value


def check_read(folder, before):
  """Whether it can be read; then it is what it was, else a sentence tells."""
  try:
    videos = read_videos(folder)
  except UserError as error:
    message = str(error)
    assert message.startswith("expected ") and message.endswith(".") and "\n" not in message
    assert str(folder) in message, message
    return False
  assert videos
  for video in videos:
    np.testing.assert_array_equal(video.frames, before[video.episode, video.view].frames)
    assert video.success in (None, before[video.episode, video.view].success)
    assert video.task in (None, before[video.episode, video.view].task)
  return True


def whole(name):
  return {(video.episode, video.view): video for video in read_videos(DATA / name)}


def linked(name, folder, apart):
  """A copy whose films and rows are links, but for one part."""
  shutil.copytree(DATA / name / apart, folder / apart)
  for other in {"meta", "data", "videos"} - {apart}:
    if (DATA / name / other).exists():
      (folder / other).symlink_to(DATA / name / other)
  return folder


@pytest.mark.parametrize("name", ["lerobot_v30", "lerobot_v21", "lerobot_v21_images"])
@pytest.mark.parametrize("keys", READ, ids=":".join)
def test_any_value_of_info_may_be_wrong(tmp_path, name, keys):
  before, path = whole(name), linked(name, tmp_path, "meta") / "meta/info.json"
  info = json.loads(path.read_text())
  read = {}
  for index, new in enumerate([MISSING, *WRONG]):
    path.write_text(json.dumps(changed(info, keys, new)))
    read[index] = check_read(tmp_path, before)
  if keys in [("fps",), ("data_path",), ("features",), ("codebase_version",)]:
    assert not read[0] and not read[1]  # Neither missing nor null.


@pytest.mark.parametrize("key", ["episode_index", "length", "tasks"])
def test_any_value_of_an_episode_may_be_wrong_v21(tmp_path, key):
  before, path = (
    whole("lerobot_v21"),
    linked("lerobot_v21", tmp_path, "meta") / "meta/episodes.jsonl",
  )
  first, *others = path.read_text().splitlines()
  for new in [MISSING, *WRONG]:
    if key == "tasks" and new == []:
      continue
    path.write_text("\n".join([json.dumps(changed(json.loads(first), [key], new)), *others]))
    check_read(tmp_path, before)
  path.write_text("\n".join(["[]", *others]))
  assert not check_read(tmp_path, before)


@pytest.mark.parametrize(
  "key",
  [
    "episode_index", "length", "tasks", "data/chunk_index", "data/file_index",
    f"videos/{CAMERA}/chunk_index", f"videos/{CAMERA}/file_index",
    f"videos/{CAMERA}/from_timestamp",
  ],
)  # fmt: skip
def test_any_value_of_an_episode_may_be_wrong_v3(tmp_path, key):
  before, path = whole("lerobot_v30"), linked("lerobot_v30", tmp_path, "meta") / RECORDS
  table = parquet.read_table(path)
  read = []
  for values in (None, [None] * 3, [-1] * 3, [1.5, np.nan, 2.0], ["x"] * 3, [[1]] * 3, [True] * 3):
    parquet.write_table(table, path)
    change_column(path, key, values)
    read.append(check_read(tmp_path, before))
  assert any(read) == (key == "tasks")
  # One null makes floats of a column of whole numbers, which then are read all the same.
  if key.endswith("index") and key != "episode_index":
    parquet.write_table(table, path)
    change_column(path, key, [0.0, 0.0, None])
    assert len(read_videos(tmp_path, episodes=[0, 1])) == 4
    assert not check_read(tmp_path, before)


_COLUMNS = ["episode_index", "frame_index", "timestamp", "next.success"]


@pytest.mark.parametrize(
  ("name", "key"),
  [
    *[(name, key) for name in ("lerobot_v30", "lerobot_v21_images") for key in _COLUMNS],
    ("lerobot_v21_images", CAMERA),
  ],
)
def test_any_column_of_the_rows_may_be_wrong(tmp_path, name, key):
  before, folder = whole(name), linked(name, tmp_path, "data")
  (path, *_) = sorted((folder / "data").rglob("*.parquet"))
  table = parquet.read_table(path)
  for values in (None, [None], [-1], [np.nan], ["x"], [[1]], [{"bytes": None, "path": "a.png"}]):
    if key == "next.success" and values in ([-1], [[1]]):
      continue  # Numbers tell true from false, too.
    parquet.write_table(table, path)
    change_column(path, key, None if values is None else values * len(table))
    check_read(folder, before)
