"""The record stage: what it writes into the run folder, once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import demo
from vipjax.envs import RobotEnv, Stream, episode_seed, record_episode
from vipjax.runtime.errors import UserError
from vipjax.scene import View
from vipjax.stages import record
from vipjax.stages.inputs import env_options, views_from_config
from vipjax.videos import read_videos

SIZE = 32
VIEW = dataclasses.asdict(View())


def tiny():
  config = demo.get_config()
  config.seed = 0
  config.env.placement = 0
  config.record.size = SIZE
  config.record.episodes = 1
  config.record.hold = 5
  config.record.frame_stride = 1
  config.record.format = "frames"
  config.record.random_episodes = 1
  config.evaluate.unseen_episodes = 1
  config.env.horizon = 120
  # These two, whatever the demo's are.
  del config.views
  config.views = ConfigDict({"left": VIEW, "right": VIEW | {"azimuth": 40.0}})
  return config


def test_an_unknown_format_is_refused_before_anything_is_recorded(tmp_path):
  config = tiny()
  config.record.format = "zarr"
  with pytest.raises(UserError, match="record.format 'mp4', .* or 'lerobot', got 'zarr'"):
    record.record(config, tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_the_same_in_the_format_asked_for(run):
  workdir, _ = run
  ours, others = (read_videos(workdir / name) for name in ("videos", "dataset"))
  assert [video.metadata() for video in ours] == [video.metadata() for video in others]
  assert (workdir / "dataset" / "episode000_left" / "0.png").is_file()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run folder after the stage, and what the stage returned."""
  workdir = tmp_path_factory.mktemp("run")
  return workdir, record.record(tiny(), workdir)


def test_four_videos_of_one_expert_episode(run):
  workdir, result = run
  videos = read_videos(workdir / "videos")
  assert sorted(path.name for path in (workdir / "videos").iterdir()) == [
    "episode000_left.mp4",
    "episode000_left_robot_free.mp4",
    "episode000_right.mp4",
    "episode000_right_robot_free.mp4",
    "lossless",
    "videos.json",
  ]
  assert [(video.view, video.robot_visible) for video in videos] == [
    ("left", True),
    ("left", False),
    ("right", True),
    ("right", False),
  ]
  (length,) = {len(video.frames) for video in videos}
  assert result["videos"] == 4 and result["frames"] == 4 * length
  for video in videos:
    assert video.frames.shape == (length, SIZE, SIZE, 3)
    assert (video.task, video.embodiment, video.success) == ("window-open", "sawyer", True)
    assert (video.fps, video.episode) == (80, 0)


def test_the_videos_are_the_configured_episode(run):
  config = tiny()
  views = views_from_config(config.views)
  with RobotEnv(**env_options(config.env), size=SIZE) as env:
    seed = episode_seed(Stream.RECORDED, config.seed, 0)
    film = record_episode(env, views, seed, hold=config.record.hold)
  for ours, reference in zip(read_videos(run[0] / "videos"), film, strict=True):
    assert len(ours.frames) == len(reference.frames)
    # H.264 keeps colour at half the resolution.
    assert np.abs(ours.frames.astype(int) - reference.frames).mean() < 6


def test_unseen_episodes_move_the_window(run):
  workdir, result = run
  unseen = read_videos(workdir / "unseen")
  assert [(video.view, video.success) for video in unseen] == [("left", True), ("right", True)]
  assert result["expert_success_unseen"] == 1.0
  assert f"seed {episode_seed(Stream.UNSEEN, 0, 0)}" in unseen[0].source
  recorded = read_videos(workdir / "videos")
  # The half of the picture that the arm does not reach at reset shows another window.
  half = np.s_[0, :, SIZE // 2 :]
  assert np.abs(unseen[0].frames[half].astype(int) - recorded[0].frames[half]).mean() > 5


def test_random_motion_for_the_background(run):
  videos = read_videos(run[0] / "background")
  assert [(video.view, video.robot_visible) for video in videos] == [
    ("left", True),
    ("right", True),
  ]
  assert {len(video.frames) for video in videos} == {121}
  assert not any(video.success for video in videos)


def test_a_second_call_does_nothing(run, monkeypatch):
  workdir, result = run
  files = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
  monkeypatch.setattr(record, "open_env", None)
  assert record.record(tiny(), workdir) == result
  assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == files


def test_nothing_but_what_is_asked_for(tmp_path):
  config = tiny()
  config.record.random_episodes = 0
  config.evaluate.unseen_episodes = 0
  config.record.robot_free = False
  config.record.format = "mp4"
  config.record.frame_stride = 10
  del config.views.right
  result = record.record(config, tmp_path)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["stages", "videos"]
  (video,) = read_videos(tmp_path / "videos")
  assert video.fps == 8
  assert result == {"videos": 1, "frames": len(video.frames), "expert_success_unseen": None}


def test_an_expert_that_fails_at_any_horizon(tmp_path, monkeypatch):
  monkeypatch.setattr(record, "steps_to_success", lambda env, seed: None)
  config = tiny()
  config.env.horizon = 20
  with pytest.raises(UserError, match="succeed at window-open in 1 of 5 episodes, got 0;"):
    record.record(config, tmp_path)


def test_the_first_episodes_in_which_the_expert_succeeds(monkeypatch, capsys):
  config = tiny()
  config.record.episodes = 2
  seeds = [episode_seed(Stream.RECORDED, config.seed, number) for number in range(6)]

  def solved(*steps):
    of_seed = dict(zip(seeds, steps, strict=True))
    monkeypatch.setattr(record, "steps_to_success", lambda env, seed: of_seed[seed])
    return record._solved_seeds(config)

  assert solved(120, 90, 60, 60, 60, 60) == seeds[:2] and capsys.readouterr().out == ""
  assert solved(None, 121, 120, None, None, 80) == [seeds[2], seeds[5]]
  assert "recorded are the episodes [2, 5]" in capsys.readouterr().out
  # The second shortest would do.
  with pytest.raises(UserError, match="at least 130 steps, .* window-open, got 120; raise it"):
    solved(140, None, 130, 60, None, None)
  with pytest.raises(UserError, match="in 2 of 6 episodes, got 1; choose another seed"):
    solved(None, None, 60, None, None, None)


@pytest.mark.parametrize(
  ("key", "value", "words"),
  [
    ("record.episodes", 0, "expected config.record.episodes of at least 1 .*, got 0"),
    ("seed", -1, "expected config.seed of at least 0 .*, got -1"),
    ("views", None, "expected at least one view, got none"),
    (
      "env.horizon",
      20,
      r"expected config.env.horizon of at least \d+ steps.* window-open.* got 20",
    ),
    ("env.robot", "ur5", "expected a robot among"),
  ],
)
def test_bad_settings(tmp_path, key, value, words):
  config = tiny()
  if key == "views":
    for name in list(config.views):
      del config.views[name]
  else:
    config.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match=f"^{words}[^\n]*$"):
    record.record(config, tmp_path)
  assert not list(tmp_path.rglob("*.json"))
