"""What contenders are given and how they are timed, and that ours learns as in the ceiling."""

import jax
import numpy as np
import pytest

from tests.experiments.test_ceiling import config_of, rows
from vipjax.benchmark import contest as contests
from vipjax.benchmark.workers.exchange import compile_clock, pack, unpack
from vipjax.envs import Seen, Step
from vipjax.experiments.ceiling import find_contests, find_jobs, run_config, train
from vipjax.reward import RewardSettings
from vipjax.reward.measured import IdealReward
from vipjax.runtime import run_folder


def test_ours_learns_what_the_ceiling_trains(tmp_path):
  config = config_of(**{"policy.steps": 30, "policy.final_episodes": 1})
  (job,), (contest,) = find_jobs(config), find_contests(config)
  run = run_folder.open_run(tmp_path / "run", run_config(config, job))
  train(run_config(config, job), run)
  told = []
  with contests.make_envs(contest, contest.num_envs) as env:
    found = contests.compete(contest, contests.Ours(contest, env), told.append)
  theirs = rows(run)
  assert told == found and [row["step"] for row in found] == [8, 16, 24, 30]
  for name in ("step", "success", "return", "distance"):
    assert [row[name] for row in found] == [row[name] for row in theirs]
  assert len({row["return"] for row in found}) > 1
  # 3 after each step of both environments from 4 actions on, but for the very last step.
  assert [row["updates"] for row in found] == [6, 18, 30, 39]
  assert np.diff([row["seconds"] for row in found]).min() > 0
  assert found[-1]["compile_seconds"] > 0


class TwoSteps:
  """Stands for FrameVectorEnv: two environments, of which the second ends at the second step."""

  def reset(self, seed):
    self.seed, self.actions = seed, []
    return np.zeros((2, 3), np.float32), seen([[1.0, 0.5], [1.0, 0.5]])

  def step(self, actions):
    self.actions.append(actions)
    if len(self.actions) == 1:
      after = (np.full((2, 3), 1.0, np.float32), *seen([[0.5, 0.5], [1.0, 0.25]]))
      return Step(*after, np.zeros(2, bool), np.zeros(2, bool), *after)
    before = (np.full((2, 3), 2.0, np.float32), *seen([[0.5, 0.25], [0.5, 0.25]]))
    again = (np.full((2, 3), 3.0, np.float32), *seen([[0.5, 0.25], [2.0, 1.0]]))
    return Step(*before, np.array([False, True]), np.zeros(2, bool), *again)


def seen(distances):
  return Seen(np.zeros((2, 0, 1, 1, 3), np.uint8), np.array(distances, np.float32), np.zeros(2))


def test_steps_are_paid_by_the_potentials_change():
  env = TwoSteps()
  paid = contests.PaidEnvs(env, IdealReward(RewardSettings(scale=10.0)), seed=7)
  assert (unpack(paid("reset")) == 0).all() and env.seed == 7
  actions = np.array([[0.5], [-1.0]], np.float32)
  first = paid(pack(actions))
  assert (env.actions[0] == actions).all()
  # 10 x (2 x .5 m of the hand), and 10 x (10 x .25 m of the object).
  assert unpack(first["reward"]).tolist() == [10.0, 25.0]
  assert first["ended"] == [False, False]
  second = paid(pack(actions))
  assert unpack(second["reward"]).tolist() == [25.0, 10.0]
  assert second["ended"] == [False, True]
  assert unpack(second["last_observation"]).tolist() == [[2.0] * 3] * 2
  assert unpack(second["observation"]).tolist() == [[3.0] * 3] * 2
  # The next step of the second environment is paid from where its new episode began.
  third = paid(pack(actions))
  assert unpack(third["reward"]).tolist() == [0.0, 10 * (2 * 1.5 + 10 * 0.75)]


def test_arrays_pass_through_json_exactly():
  array = np.array([[0.1, -np.inf], [3e-39, 1.0]], np.float32)
  back = unpack({"shape": [2, 2], "float32": pack(array)["float32"]})
  assert back.dtype == np.float32 and (back == array).all()
  back[0] = 5.0


@pytest.fixture
def events(monkeypatch):
  """A new clock: its listener, and the time, a list of one number."""
  listeners, now = [], [0.0]
  monkeypatch.setattr(jax.monitoring, "register_event_duration_secs_listener", listeners.append)
  monkeypatch.setattr("vipjax.benchmark.workers.exchange.time.perf_counter", lambda: now[0])
  clock = compile_clock.__wrapped__()
  return listeners[0], now, clock


def test_compilation_within_compilation_is_counted_once(events):
  note, now, clock = events
  for end, seconds in ((3.0, 1.0), (4.0, 1.0), (5.0, 4.0), (9.0, 2.0)):
    now[0] = end
    note("/jax/core/compile/jaxpr_trace_duration", seconds, fun_name="f")
  note("/jax/checkpoint/write", 100.0)
  assert clock() == 4.0 + 2.0
