"""The pretraining corpus: which episodes it holds, and that recorded tasks are kept."""

import pytest

from configs import pretrain
from vipjax.runtime.errors import UserError
from vipjax.stages.corpus import record_corpus
from vipjax.videos import read_videos


def config_of(**overrides):
  config = pretrain.get_config()
  small = {
    "only": ("drawer-open",), "expert_episodes": 1, "recovering_episodes": 1, "noisy_episodes": 1,
    "random_episodes": 1, "size": 32, "frame_stride": 4, "max_frames": 8, "noise": (0.0,),
    "astray": (50, 51), "approach": (10, 11), "controls": ("torque",),
  }  # fmt: skip
  config.corpus.update(small | overrides)
  return config


def test_experts_good_and_led_astray_and_random_motion_are_filmed(tmp_path):
  result = record_corpus(config_of(), tmp_path)
  videos = read_videos(tmp_path / "videos" / "drawer-open")
  assert (result["tasks"], result["videos"]) == (1, len(videos))
  assert result["frames"] == sum(len(video.frames) for video in videos)
  assert result["expert_success"] == {"drawer-open": {"torque": 1.0}}
  found = {(v.view, v.robot_visible): v for v in videos}
  assert len(found) == len(videos)
  for kind in ("expert", "recovering"):
    for view in (f"{kind}-any", f"{kind}-close"):
      plain, free = found.pop((view, True)), found.pop((view, False))
      assert plain.success and free.success and len(plain.frames) == len(free.frames) >= 8
  # The others are cut where they fail, and filmed with the robot alone if they do.
  assert {view for view, _ in found} == {
    f"{kind}-{place}" for kind in ("noisy", "random") for place in ("any", "close")
  }
  assert all(v.robot_visible and (v.success or len(v.frames) == 8) for v in found.values())
  # What is there is not recorded again.
  file = tmp_path / "videos" / "drawer-open" / "videos.json"
  stamp = file.stat().st_mtime_ns
  (tmp_path / "stages" / "corpus.json").unlink()
  assert record_corpus(config_of(), tmp_path)["frames"] == result["frames"]
  assert file.stat().st_mtime_ns == stamp


def test_films_that_begin_at_the_goal_are_left_out(tmp_path):
  options = {"expert_episodes": 0, "noisy_episodes": 0, "random_episodes": 0}
  late = {"recovering_episodes": 4, "approach": (100, 101), "astray": (1, 2), "frame_stride": 8}
  record_corpus(config_of(**options, **late), tmp_path)
  videos = read_videos(tmp_path / "videos" / "drawer-open")
  # Every other one of them has had so long to approach that it has solved the task.
  assert 0 < len({video.episode for video in videos}) < 4
  assert all(len(video.frames) > 5 for video in videos)


def test_an_unknown_task_is_one_sentence(tmp_path):
  with pytest.raises(UserError, match="names of Meta-World tasks"):
    record_corpus(config_of(only=("window-ajar",)), tmp_path)
