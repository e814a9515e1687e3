"""Agents of several seeds at once: the numbers of each alone, in real environments, and resume."""

import json

import jax
import numpy as np
import pytest

from tests.stages.test_train_policy import config_of, interrupt, stopping
from vipjax.envs import FrameVectorEnv
from vipjax.reward.measured import IdealReward
from vipjax.runtime.checkpoint import Checkpointer
from vipjax.runtime.metrics import read_metrics, split_parts
from vipjax.sac import load_actor
from vipjax.stages import training as train_lib
from vipjax.stages.agent import reward_settings, sac_settings
from vipjax.stages.filming import agent_options
from vipjax.stages.of_seeds import joined_metrics, joined_results


def train(folder, seed, seeds):
  """Trains without pictures; returns the training and what it finds of the kept policies."""
  # More evaluation episodes than environments to play them in.
  config = config_of(**{"seed": seed, "policy.seeds": seeds, "policy.final_episodes": 3})
  policy, options = config.policy, agent_options(config)
  sac = sac_settings(policy)
  reward = IdealReward(reward_settings(config))
  with (
    FrameVectorEnv(options, seeds * policy.num_envs, num_workers=0) as env,
    FrameVectorEnv(options, seeds * policy.eval_episodes, num_workers=0) as eval_env,
    Checkpointer(folder / "checkpoints", keep=2) as checkpoints,
  ):
    training = train_lib.Training(config, folder, env, eval_env, reward, sac, jax.devices()[:1])
    training.run(checkpoints)
    training.write_kept()
    return training, training.evaluate_kept(eval_env)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
  folder = tmp_path_factory.mktemp("together")
  return folder, *train(folder, seed=3, seeds=2)


def test_each_has_the_numbers_of_one_alone(together, tmp_path):
  folder, training, found = together
  of_agents = split_parts(read_metrics(folder, "policy"))
  assert list(of_agents) == ["seed3", "seed4"]
  for index, (name, rows) in enumerate(of_agents.items()):
    alone, (kept_found,) = train(tmp_path / name, seed=3 + index, seeds=1)
    rows_alone = read_metrics(tmp_path / name, "policy")
    assert [row["step"] for row in rows] == [row["step"] for row in rows_alone] == [8, 16, 24]
    assert "critic_loss" in rows[0] and "train_return" in rows[-1]
    for row, row_alone in zip(rows, rows_alone, strict=True):
      assert row == pytest.approx({k: v for k, v in row_alone.items() if k != "stage"}, rel=1e-3)
    assert found[index] == pytest.approx(kept_found, rel=1e-3, nan_ok=True)
    (kept,) = alone.kept
    assert training.kept[index]["step"] == kept["step"]
    observation = np.random.default_rng(0).normal(size=(4, 51)).astype(np.float32)
    actions = load_actor(tmp_path / name)(observation)
    np.testing.assert_allclose(load_actor(folder, name)(observation), actions, atol=1e-4)
  # One could not be taken for the other.
  assert of_agents["seed3"][0]["return"] != pytest.approx(of_agents["seed4"][0]["return"], rel=0.01)
  # The run's own policy is the one of the highest return.
  best = ("seed3", "seed4")[int(np.argmax([kept["return"] for kept in training.kept]))]
  chosen, own = (folder / "policy" / each / "actor.safetensors" for each in (best, ""))
  assert chosen.read_bytes() == own.read_bytes()


def state_of(folder):
  newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
  record = json.loads((newest / "record" / "metadata").read_text())
  return newest.name, record["checksums"], record["metadata"]["episodes"]


def test_interrupted_they_go_on_as_if_nothing_had_happened(together, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(train_lib, "Progress", stopping(14, interrupt))
    with pytest.raises(KeyboardInterrupt):
      train(tmp_path, seed=3, seeds=2)
  assert [row["step"] for row in read_metrics(tmp_path, "policy")] == [8]
  train(tmp_path, seed=3, seeds=2)
  assert read_metrics(tmp_path, "policy") == read_metrics(together[0], "policy")
  assert state_of(tmp_path) == state_of(together[0])
  for name in ("seed3", "seed4"):
    actors = [each / "policy" / name / "actor.safetensors" for each in (tmp_path, together[0])]
    assert actors[0].read_bytes() == actors[1].read_bytes()


def test_rows_of_several_are_their_means_and_each():
  rows = [{"success": 0.5, "steps": 8}, {"success": 1.0, "steps": 8, "seconds": 2.0}]
  assert joined_metrics(["seed3", "seed4"], rows) == {
    "success": 0.75, "steps": 8, "seconds": 2.0, "seed3/success": 0.5, "seed3/steps": 8,
    "seed4/success": 1.0, "seed4/steps": 8, "seed4/seconds": 2.0,
  }  # fmt: skip
  nan = float("nan")
  rows = [{"success": 0.5, "late": nan, "never": nan}, {"success": 1.0, "late": 3.0, "never": nan}]
  made = joined_results(range(3, 5), rows)
  assert np.isnan(made.pop("never")) and made.pop("agents")[1]["seed"] == 4
  assert made == {"success": 0.75, "late": 3.0}
  assert joined_results(range(3, 4), rows[1:]) is rows[1]
