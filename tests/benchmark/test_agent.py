"""The suite of agents: ours alone, beside a peer by chance, and beside the real ones."""

import json
import pathlib

import pytest

from tests.experiments.test_ceiling import config_of
from vipjax.benchmark import agent, peers, run_suite
from vipjax.experiments.ceiling import find_contests

# As workers/agents.py, in another's place: it acts by chance and asks nobody's package.
BY_CHANCE = """
import numpy as np
from exchange import pack, unpack

class Learner:
  def __init__(self, ask, num_envs, num_actions, updates, seed):
    self.ask, self.shape, self.updates = ask, (num_envs, num_actions), updates
    self.random, self.actions = np.random.default_rng(seed), 0
    assert unpack(ask("reset")).shape[0] == num_envs

  def learn(self, actions):
    updates = 0
    while self.actions < actions:
      step = self.ask(pack(self.random.uniform(-1, 1, self.shape)))
      assert len(step["ended"]) == self.shape[0] and np.isfinite(unpack(step["reward"])).all()
      self.actions, updates = self.actions + self.shape[0], updates + self.updates
    if actions > 8 and self.updates == 1:
      raise ValueError("it had enough")
    return {"actions": self.actions, "updates": updates, "seconds": 2.0, "compile_seconds": 0.5}

  def act(self, observation):
    return pack(self.random.uniform(-1, 1, (len(unpack(observation)), self.shape[1])))

def make(ask, agent, num_envs, observation_size, num_actions, updates, capacity, seed):
  assert (agent, observation_size, capacity) == ("sac", 51, 24)
  return Learner(ask, num_envs, num_actions, updates, seed), {"chance": "1.0"}
"""


def tiny(**overrides):
  return find_contests(config_of(**{"policy.updates_per_step": 3, **overrides}))


def run(folder, contests, **sizes):
  page = run_suite(
    "agent", folder, "command", repeats=1, peak_size=64, contests=contests,
    earlier=folder / "agent.json", **sizes,
  )  # fmt: skip
  return page.read_text(), json.loads(page.with_suffix(".json").read_text())


@pytest.fixture
def by_chance(tmp_path, monkeypatch):
  """Makes the peers act by chance, through the real pipe."""
  (tmp_path / "agents.py").write_text(BY_CHANCE)
  workers = pathlib.Path(peers.__file__).parent / "workers"
  worker = tmp_path / "start.py"
  worker.write_text(f"import sys\nsys.path += [{str(workers)!r}]\nimport worker\nworker.main()\n")
  monkeypatch.setattr(peers, "_WORKER", worker)
  monkeypatch.setattr(agent, "_NEEDS", ("numpy",))


def test_without_peers_ours_learns_alone(tmp_path, monkeypatch):
  monkeypatch.setattr(agent, "_NEEDS", ("no_such_package",))
  text, record = run(tmp_path / "out", tiny())
  (only,) = record["facts"]["runs"]
  assert only["what"]["contender"] == "vipjax" and len(only["evaluations"]) == 3
  (reason,) = record["skipped"].values()
  assert reason.startswith("no Python has no_such_package: install vipjax[peers]")
  assert f"Skipped: sbx-rl ({reason})." in text
  assert "| window-open, torque | vipjax | 1 | " in text and "![agent](agent.png)" in text
  assert (tmp_path / "out" / "agent.png").read_bytes()[:4] == b"\x89PNG"


def test_a_peer_learns_the_same_and_nothing_is_run_twice(tmp_path, monkeypatch, by_chance):
  out, contests = tmp_path / "out", tiny(**{"ceiling.seeds": (0, 1)})
  text, record = run(out, contests, agents=("sac",))
  runs = record["facts"]["runs"]
  names = [each["what"]["contender"] for each in runs]
  # Two environments: their own ratio is two updates after a step of both, not our three.
  assert names == ["vipjax", "sbx SAC", "sbx SAC, 1 update an action"] * 2
  assert [row["step"] for row in runs[1]["evaluations"]] == [8, 16, 24]
  assert runs[1]["evaluations"][-1]["updates"] == 3 * 12
  assert runs[2]["evaluations"][-1]["updates"] == 2 * 12
  assert runs[1]["evaluations"][-1]["seconds"] == 6.0
  table = record["tables"]["How soon"]
  assert [row["seeds"] for row in table] == ["2"] * 3
  assert table[1]["actions/s"] == "4 [4, 4]" and table[1]["compilation, s"] == "2"
  assert list(record["tables"]["Success on the way, by actions"][0])[3:] == ["8", "16", "24"]
  assert "sbx SAC, 1 update an action" in text

  monkeypatch.setattr(agent, "compete", None)
  again, _ = run(out, contests, agents=("sac",))
  assert again.split("## ")[1:] == text.split("## ")[1:]
  with pytest.raises(TypeError):  # another contest, which would have to be run
    run(out, tiny(**{"policy.steps": 16}), agents=())


def test_a_peer_that_fails_is_left_out(tmp_path, by_chance):
  _, record = run(tmp_path, tiny(**{"policy.updates_per_step": 1}), agents=("sac",))
  names = [each["what"]["contender"] for each in record["facts"]["runs"]]
  assert names == ["vipjax", "sbx SAC, 1 update an action"]
  assert record["skipped"] == {"sbx SAC": "ValueError: it had enough"}


def test_medians_are_over_seeds_and_then_over_tasks():
  def runs(name, task, solved):
    contest = {"task": task, "control": "torque"}
    success = [float(solved == step) for step in (10, 20)]
    rows = [
      {"step": step, "seconds": step / 2, "success": each, "updates": 1, "compile_seconds": 0}
      for step, each in zip((10, 20), success, strict=True)
    ]
    return {"what": {"contender": name, "contest": contest}, "evaluations": rows}

  class NoBench:
    skipped, peak = {}, None

  made = [runs("a", task, solved) for task in ("x", "y", "z") for solved in (10, 20, None)]
  made += [runs("b", "x", 10), runs("b", "y", None), runs("b", "z", None)]
  table = agent._result(NoBench, made).tables["The median task"]
  assert [list(row.values()) for row in table] == [
    ["a", "3", "20", "10"],
    ["b", "3", "never", "never"],
  ]


def test_the_real_peers_learn(tmp_path):
  pytest.importorskip("sbx", reason="needs the extra peers (sbx-rl)")
  contests = tiny(**{"policy.steps": 120, "policy.eval_every": 60})
  _, record = run(tmp_path, contests, own_ratio=False)
  assert record["skipped"] == {}
  names = [each["what"]["contender"] for each in record["facts"]["runs"]]
  assert names == ["vipjax", *agent.AGENTS.values()]
  for each in record["facts"]["runs"][1:]:
    last = each["evaluations"][-1]
    # They act at random for 100 actions and learn after each step of both environments from then.
    assert last["step"] == 120 and last["updates"] == 3 * 10
    assert last["seconds"] > 0 and last["compile_seconds"] > 0
