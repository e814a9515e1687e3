"""What is said of files that cannot be read."""

from __future__ import annotations

import re
import shutil

import av
import numpy as np
import pytest

from tests.videos.clips import (
  assert_one_sentence,
  encode,
  moving_picture,
  without_permission,
  write_frames,
)
from vipjax.reward.relabel import check_label_out
from vipjax.runtime.errors import UserError
from vipjax.videos import open_videos, read_video, read_videos, write_video


def test_missing_path(tmp_path):
  for path in (tmp_path / "gone.mp4", tmp_path / "gone", ""):
    with pytest.raises(UserError) as error:
      read_videos(path)
    assert_one_sentence(error, "a video file or folder", path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.npz", "0.png"])
def test_empty_file(tmp_path, name):
  (tmp_path / name).write_bytes(b"")
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path / name, "got an empty one (0 bytes)")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.gif", "clip.npz", "0.png"])
def test_file_of_noise(tmp_path, name):
  (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5000))
  with pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, tmp_path / name, "truncated or corrupt")


@pytest.mark.parametrize("kept", [0.5, 0.8, 0.99])
def test_truncated_mp4_with_its_index_first(tmp_path, kept):
  path = tmp_path / "clip.mp4"
  write_video(path, moving_picture(20), 10)
  path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "truncated or corrupt", "of its 20 frames lie beyond its end")


def test_truncated_mp4_with_its_index_last(tmp_path):
  path = tmp_path / "clip.mp4"
  encode(path, moving_picture(20), "libx264")
  data = path.read_bytes()
  path.write_bytes(data[: data.index(b"moov")])
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "truncated or corrupt", "Invalid data")


def test_unknown_codec(tmp_path):
  path = tmp_path / "clip.mp4"
  write_video(path, moving_picture(3), 10)
  path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "a known codec", "H.264")


def test_truncated_avi_and_png(tmp_path):
  encode(tmp_path / "clip.avi", moving_picture(20), "mpeg4")
  write_frames(tmp_path / "frames", moving_picture(1))
  for path in (tmp_path / "clip.avi", tmp_path / "frames" / "0.png"):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(UserError) as error:
      read_videos(path.parent if path.suffix == ".png" else path)
    assert_one_sentence(error, path, "truncated or corrupt")


def test_damaged_pictures_inside_a_whole_file(tmp_path):
  path = tmp_path / "clip.mp4"
  write_video(path, moving_picture(20), 10)
  data = bytearray(path.read_bytes())
  start = data.index(b"mdat") + len(data) // 4
  data[start : start + 400] = np.random.default_rng(1).bytes(400)
  path.write_bytes(data)
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "truncated or corrupt")


def test_sound_without_pictures(tmp_path):
  path = tmp_path / "sound.mkv"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
    frame.sample_rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, "a video stream")


def test_container_without_frames(tmp_path):
  path = tmp_path / "none.mkv"
  encode(path, np.zeros((0, 16, 16, 3), np.uint8), "libx264")
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path)


@pytest.mark.parametrize("name", ["clip.wmv", "clip", "0.png"])
def test_unknown_extension(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(b"bytes")
  with pytest.raises(UserError) as error:
    read_video(path)
  assert_one_sentence(error, path, ".mp4, .webm, .avi, .mov, .gif, .mkv, .npz, .npy")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.npy", "0.png", "videos.json"])
def test_file_without_permission(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(b"bytes")
  with without_permission(path), pytest.raises(UserError) as error:
    read_videos(tmp_path)
  assert_one_sentence(error, path, "got 'Permission denied'")


def test_folder_without_permission(tmp_path):
  folder = tmp_path / "shut"
  write_frames(folder, moving_picture(1))
  for path in (folder, folder / "clip.mp4", tmp_path):
    with without_permission(folder), pytest.raises(UserError) as error:
      read_videos(path)
    assert_one_sentence(error, folder, "got 'Permission denied'")


def test_containers_are_closed(tmp_path, monkeypatch):
  opened = []
  real_open = av.open

  def remembering(*arguments, **options):
    opened.append(real_open(*arguments, **options))
    return opened[-1]

  monkeypatch.setattr(av, "open", remembering)
  write_video(tmp_path / "clip.mp4", moving_picture(5), 10)
  read_video(tmp_path / "clip.mp4", max_frames=2)
  shutil.copy(tmp_path / "clip.mp4", tmp_path / "short.mp4")
  with (tmp_path / "short.mp4").open("r+b") as file:
    file.truncate(2000)
  with pytest.raises(UserError):
    read_video(tmp_path / "short.mp4")
  assert len(opened) == 4
  for container in opened[1:]:
    with pytest.raises(AssertionError, match=re.escape("Container is not open")):
      container.seek(0)


# What is there in name only.

POINTER = (
  b"version https://git-lfs.github.com/spec/v1\n"
  b"oid sha256:665232916d127eb726be0e4a8ea09109f6739e74ce72c70d813ce1b31d8abe8e\nsize 146946961\n"
)


@pytest.mark.parametrize(
  "name",
  ["a.mp4", "a.gif", "a.npz", "a.npy", "0.png", "a.hdf5", "a.tfrecord", "videos.json",
   "manifest.csv", "meta/info.json", "dataset_info.json"],
)  # fmt: skip
def test_git_lfs_pointers(tmp_path, name):
  path = tmp_path / name
  path.parent.mkdir(exist_ok=True)
  path.write_bytes(POINTER)
  folder = tmp_path if name != "a.tfrecord" else path
  for read in (read_videos, lambda place: open_videos(place)[0][0]):
    with pytest.raises(UserError) as error:
      read(folder)
    assert_one_sentence(error, path, "a Git LFS pointer; run git lfs pull")


@pytest.mark.parametrize("name", ["b.mp4", "b.npy", "1.png", "b.hdf5", "videos.json", "b", "b.1"])
def test_a_dead_link_among_good_files(tmp_path, name):
  good = moving_picture(2, 8, 8)
  if name.endswith("png"):
    write_frames(tmp_path, good)
    (tmp_path / name).unlink()
  else:
    np.save(tmp_path / "a.npy", good)
  (tmp_path / "notes.txt").symlink_to(tmp_path / "gone")  # Nobody would have read it.
  assert len(read_videos(tmp_path)) == 1
  (tmp_path / name).symlink_to(tmp_path / "blobs" / "1234")
  for path in (tmp_path, tmp_path / name):
    with pytest.raises(UserError) as error:
      read_videos(path)
    assert_one_sentence(error, tmp_path / name, "the dead link", "blobs/1234")


def test_a_copied_cache_without_its_blobs(tmp_path):
  """As `cp -r` leaves a snapshot of the hub's cache."""
  for name in ("meta/info.json", "data/chunk-000/file-000.parquet"):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).symlink_to("../../blobs/1234")
  for read in (read_videos, lambda folder: check_label_out(folder, folder / "out")):
    with pytest.raises(UserError) as error:
      read(tmp_path)
    assert_one_sentence(error, "the dead link", "../../blobs/1234")


def test_a_link_on_the_way_is_dead(tmp_path):
  (tmp_path / "a").symlink_to("gone")
  with pytest.raises(UserError) as error:
    read_videos(tmp_path / "a" / "clip.mp4")
  assert_one_sentence(error, tmp_path / "a" / "clip.mp4", f"the dead link {tmp_path / 'a'}")


def test_what_a_manifest_names_is_a_dead_link(tmp_path):
  (tmp_path / "a").symlink_to("gone")
  for manifest, text in (("videos.json", '[{"file": "a"}]'), ("manifest.csv", "path\na\n")):
    folder = tmp_path / manifest.partition(".")[2]
    folder.mkdir()
    (folder / "a").symlink_to("gone")
    (folder / manifest).write_text(text)
    with pytest.raises(UserError) as error:
      read_videos(folder)
    assert_one_sentence(error, folder / "a", "the dead link")
