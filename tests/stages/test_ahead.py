"""Programs compiled ahead are those that the policy stage runs."""

import contextlib
import logging
import re

import jax
import numpy as np
import pytest

from tests.stages.test_train_policy import config_of
from vipjax import encoder
from vipjax.envs import RobotEnv
from vipjax.envs.still import StillEnvs
from vipjax.sac import agent as agent_lib
from vipjax.sac import rollout
from vipjax.stages import ahead
from vipjax.stages import train_policy as policy_lib
from vipjax.types import Video
from vipjax.videos import write_videos


@pytest.fixture(scope="module")
def config():
  """Of sizes that no other test has, because tests share their programs."""
  return config_of(**{
    "encoder.init": "scratch", "encoder.arch": "resnet18", "encoder.width": 8, "encoder.size": 18,
    "encoder.embedding_dim": 9, "encoder.resize": 18, "policy.hidden": (11,), "policy.seeds": 2,
    "policy.steps": 19,
  })  # fmt: skip


@pytest.fixture
def run(config, one_block, tmp_path, monkeypatch):
  """A run folder with videos of noise and an encoder; the stage's environments stand still."""
  rng = np.random.default_rng(0)
  videos = [
    Video(rng.integers(0, 256, (6, 26, 26, 3), np.uint8), view="front", robot_visible=visible)
    for visible in (True, False)
  ]
  write_videos(tmp_path / "videos", videos)
  encoder.save(tmp_path / "encoder", ahead._like_fine_tuned(config))

  def still(options, count, channels, size, **_):
    probe = RobotEnv(**options, size=size)
    spaces, pictures = (probe.observation_space, probe.action_space), (len(channels), size, size, 3)
    return contextlib.nullcontext(StillEnvs(count, *spaces, pictures, probe.horizon))

  monkeypatch.setattr(policy_lib, "FrameVectorEnv", still)
  monkeypatch.setattr(policy_lib, "_film", lambda *_: videos[0])
  return tmp_path


def missed(work, caplog):
  """Names of the programs that a cache did not have."""
  before = jax.config.jax_persistent_cache_min_compile_time_secs
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  caplog.clear()
  try:
    with caplog.at_level(logging.DEBUG, logger="jax._src.compiler"):
      work()
  finally:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)
  found = re.findall(r"CACHE MISS for '(\w+)'", caplog.text)
  return {name for name in found if name.removeprefix("jit_") in PROGRAMS}


# Embedding; acting, updates and replay; the reward; the policy of evaluations.
PROGRAMS = {"embed", "act", "update", "insert", "embed_and_insert", "compute", "policy"}


@pytest.mark.parametrize("on_cpu", [True, False])
def test_the_policy_stage_finds_all_programs(config, run, caplog, monkeypatch, on_cpu):
  for module in (agent_lib, rollout):
    monkeypatch.setattr(module, "on_cpu", lambda: on_cpu)
  made = missed(lambda: ahead.compile_programs(config, run), caplog)
  stores = "jit_insert" if on_cpu else "jit_embed_and_insert"
  assert {"jit_update", stores} <= made
  assert missed(lambda: policy_lib.train_policy(config, run), caplog) == set()


def test_on_a_cpu_nothing_starts(config, tmp_path):
  ahead.start(config, tmp_path)()


def test_what_goes_wrong_ahead_is_no_error(config, tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(ahead, "on_cpu", lambda: False)
  ahead.start(config, tmp_path)()  # there are no videos
  assert "not compiled ahead: expected" in caplog.text
