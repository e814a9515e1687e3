"""The policy stage on one device: with a simulator of MuJoCo in C, and with Warp where it is."""

import importlib.util
import json

import jax
import numpy as np
import pytest

from configs import demo
from tests.envs.warp.one_by_one import OneByOne
from vipjax import encoder
from vipjax.envs.warp.reference import read_reference, record_reference
from vipjax.runtime.errors import UserError
from vipjax.stages import training as train_lib
from vipjax.stages import warp_policy
from vipjax.stages.task import filled
from vipjax.stages.train_policy import train_policy
from vipjax.types import Video
from vipjax.videos import read_videos
from vipjax.videos.formats.folders import write_videos

SIZE = 16


def config_of(scene, **overrides):
  config = filled(demo.get_config())
  config.update_from_flattened_dict({
    "policy.backend": "warp", "policy.scene": str(scene), "env.placement": -1, "env.horizon": 6,
    "policy.steps": 16, "policy.num_envs": 2, "policy.warmup_steps": 4, "policy.hidden": (8,),
    "policy.batch_size": 4, "policy.updates_per_step": 1, "policy.eval_every": 8,
    "policy.eval_episodes": 2, "policy.final_episodes": 2, "policy.checkpoint_every": 4,
    "policy.action_repeat": 1, **overrides,
  })  # fmt: skip
  return config


@pytest.fixture(scope="module")
def prepared(one_block, tmp_path_factory):
  """A run folder with two videos that get darker, and a fresh encoder."""
  workdir = tmp_path_factory.mktemp("run")
  config = encoder.ResNetConfig("resnet18", width=8, embedding_dim=8)
  value = encoder.init_value(jax.random.key(0), config, encoder.Preprocessing(SIZE, SIZE))
  encoder.save(workdir / "encoder", value)
  grey = np.linspace(200, 20, 6).astype(np.uint8)[:, None, None, None]
  frames = np.broadcast_to(grey, (6, SIZE, SIZE, 3))
  videos = [
    Video(frames, task="window-open", view="front", robot_visible=visible, success=True, episode=0)
    for visible in (True, False)
  ]
  write_videos(workdir / "videos", videos)
  return workdir


@pytest.fixture(params=["c", "warp"])
def simulator(request, monkeypatch):
  if request.param == "c":
    monkeypatch.setattr(warp_policy, "Simulation", OneByOne)
  elif importlib.util.find_spec("warp") is None:
    pytest.skip("it needs the extra warp, in its own Python")
  # A film at full size would take most of the time.
  monkeypatch.setattr(train_lib, "_FINAL_SIZE", SIZE)
  monkeypatch.setattr(train_lib, "_GLANCE", SIZE)


def linked(prepared, folder):
  folder.mkdir()
  for name in ("videos", "encoder"):
    (folder / name).symlink_to(prepared / name)
  return folder


def rows_of(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_goes_on_where_it_stopped(
  simulator, request, scene, prepared, tmp_path, monkeypatch
):
  workdir, config = linked(prepared, tmp_path / "stopped"), config_of(scene.folder)
  save = train_lib.Checkpointer.save

  def save_and_stop(self, step, *arguments):
    save(self, step, *arguments)
    if step == 8:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(train_lib.Checkpointer, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
      train_policy(config, workdir)
  result = train_policy(config, workdir)
  assert result["env_steps"] == 16 and 0 <= result["policy_success"] <= 1
  assert (workdir / "policy" / "final.mp4").is_file()
  rows = rows_of(workdir)
  assert [row["step"] for row in rows] == [8, 16]
  assert np.isfinite(rows[-1]["critic_loss"]) and "train_return" in rows[-1]
  if "warp" not in request.node.name.split("[")[1]:
    return  # test_device_loop.py has the rest; programs with callbacks are compiled anew each time
  whole = linked(prepared, tmp_path / "whole")
  uninterrupted = train_policy(config, whole)
  for name in ("policy_return", "policy_success", "best_step"):
    assert result[name] == pytest.approx(uninterrupted[name], rel=1e-5)
  assert rows[-1]["critic_loss"] == pytest.approx(rows_of(whole)[-1]["critic_loss"], rel=1e-5)


def test_the_expert_is_filmed_by_the_same_renderer(simulator, scene, tmp_path):
  if not (scene.folder / "expert.npz").is_file():
    record_reference(scene, 1, size=SIZE)
  lengths = read_reference(scene).lengths
  config = config_of(scene.folder, **{"record.size": SIZE, "record.frame_stride": 4})
  told = warp_policy.film_expert(config, tmp_path)
  videos = read_videos(tmp_path / "videos")
  assert told["videos"] == len(videos) == 4
  assert {(video.view, video.robot_visible) for video in videos} == {
    (view, visible) for view in ("front", "side") for visible in (True, False)
  }
  frames = 1 + -(-int(lengths[0]) // 4)
  assert all(video.frames.shape == (frames, SIZE, SIZE, 3) for video in videos)
  assert videos[0].fps == pytest.approx(20.0) and videos[0].task == "window-open"
  with pytest.raises(UserError, match="expected 99 episodes beside the scene"):
    warp_policy.film_expert(config_of(scene.folder, **{"record.episodes": 99}), tmp_path)


def test_an_action_is_held_and_the_horizon_is_in_actions(scene):
  facts = warp_policy.open_scene(
    config_of(scene.folder, **{"policy.action_repeat": 3, "env.joint_noise": 0.1})
  ).facts
  assert (facts.frame_skip, facts.horizon, facts.joint_noise) == (15, 2, 0.1)


@pytest.mark.parametrize(
  ("overrides", "sentence"),
  [
    ({"policy.seeds": 2}, "config.policy.seeds of 1 with config.policy.backend 'warp', got 2"),
    ({"policy.online.every": 8}, "config.policy.online.every of 0 .* got 8"),
    ({"env.control": "end_effector"}, "config.env.control of 'torque' .* got 'end_effector'"),
    ({"env.task": "drawer-open"}, "'drawer-open'.* got one of .*'window-open'.*export_scene"),
    ({"env.placement": 3}, "'placement': 3.* got one of .*'placement': None.*--placement=3"),
    ({"policy.scene": "/no/such/folder"}, "without scene.json"),
  ],
)
def test_what_warp_cannot_do_is_one_sentence(scene, overrides, sentence):
  with pytest.raises(UserError, match=sentence):
    warp_policy.open_scene(config_of(scene.folder, **overrides))
