"""V-PTR's rows and those of rewards: their configs, what they share, what the page tells.

The phases and the pipeline stand in.
"""

import pytest

from configs import demo
from configs import vptr as config_lib
from configs.paper import additions
from vipjax.experiments import runs, vptr, vptr_rewards
from vipjax.experiments.vptr_page import FROZEN
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError

HEALTH = {
  "q_data": -20.0, "q_pi": -25.0, "q_random": -50.0, "bounded": 0.5, "return": -21.0,
  "q_above_return": 1.0, "q_return_correlation": 0.9,
}  # fmt: skip
# Without those that run only if named.
ROWS = ("full", "behaviour_cloning", "vip_encoder", "without_robot_data", "without_video")
REWARDS = ("best_route", "best_route_same_input", "hilp", "icvf", "vip_route")


@pytest.fixture
def config():
  config = config_lib.get_config()
  config.vptr.video, config.vptr.seeds = ('finetune.loss="expectile"',), (0, 1)
  config.vptr.tasks, config.vptr.target_episodes = ("window-open",), (20,)
  config.vptr.stages = ("video", "robot", "target")
  return config


@pytest.fixture
def phases(monkeypatch):
  """Notes what is done, and leaves results."""
  done = []

  def stand_in(name, result):
    def run(config, folder, *arguments):
      if run_folder.stage_done(folder, name):
        return run_folder.stage_result(folder, name)
      done.append((name, folder, config))
      if name == "target" and folder.parent.name == "vip_encoder" and config.seed:
        raise UserError("expected rewards, got none; give some.")
      run_folder.mark_done(folder, name, result, 60.0)
      return result

    return run

  def run_stages(config, folder, additions):
    done.append(("pipeline", folder, config))
    run_folder.mark_done(folder, "record", {"videos": 4 * config.record.episodes}, 10.0)
    run_folder.mark_done(folder, "finetune", {}, 20.0)
    run_folder.mark_done(folder, "evaluate", {}, 40.0)
    result = {"policy_success": 1.0, "policy_final_success": 0.5, "env_steps": 24_000}
    run_folder.mark_done(folder, "policy", result, 30.0)
    return {**result, "episodes": 20}

  counts = {"trajectories": 400, "steps": 30_000, "successes": 300, "updates": 5}
  target = {"trajectories": 20, "steps": 1700, "successes": 20, "episodes": 20}
  own = {"trajectories": 360, "steps": 50_000, "successes": 90, "episodes": 20}
  ideal = {"success": 0.75, "final_success": 0.25, "env_steps": 24_000, "episodes": 20}
  for module, function, name, result in (
    (vptr, "record_corpus", "corpus", {}),
    (vptr, "finetune", "finetune", {"videos": 1234}),
    (vptr, "record_robot_data", "robot_data", {}),
    (vptr, "train_robot", "robot", {**counts, **HEALTH}),
    (vptr, "train_target", "target", {**target, **HEALTH, "success": 0.5, "final_success": 0.25}),
    (vptr, "train_online", "online", {**own, **HEALTH, "success": 0.75, "final_success": 0.5}),
    (vptr_rewards.ceiling, "train", "policy", ideal),
  ):
    monkeypatch.setattr(module, function, stand_in(name, result))
  monkeypatch.setattr(vptr_rewards, "run_stages", run_stages)
  monkeypatch.setattr(vptr_rewards, "write_report", lambda folder: None)
  monkeypatch.setattr(vptr.encoder, "load", lambda path: str(path))
  monkeypatch.setattr(runs, "share_out", lambda work, jobs, **_: map(work, jobs))
  return done


def run(config, workdir):
  return vptr.run_vptr(config, workdir, demo.get_config(), additions)


def folders_of(phases, root, *names):
  return [
    folder.relative_to(root).as_posix() for name, folder, _ in phases if name in names or not names
  ]


def cells_of(folder):
  """Cells of the table's lines by task, episodes and row."""
  lines = [line.strip("| ").split(" | ") for line in (folder / "table.md").read_text().split("\n")]
  return {tuple(line[:3]): line[3:] for line in lines if len(line) == 11}


def test_rows_share_phases_and_data_and_the_page_says_what_each_was_given(config, tmp_path, phases):
  page = run(config, tmp_path)
  assert folders_of(phases, tmp_path, "corpus", "finetune") == ["video/full"] * 2
  assert folders_of(phases, tmp_path, "robot_data") == ["data", "target/window-open_20"]
  rows = {f"{name}/seed{seed}" for seed in (0, 1) for name in ROWS}
  assert set(folders_of(phases, tmp_path, "target")) == {f"window-open_20/{row}" for row in rows}
  # Without robot data there is no second phase.
  robot = {f"robot/{row}" for row in rows if "without_robot_data" not in row}
  assert set(folders_of(phases, tmp_path, "robot")) == robot
  made = {folder.parent.name: each for name, folder, each in phases if name == "target"}
  assert made["behaviour_cloning"].vptr.clone_updates >= 10**9
  assert made["without_video"].vptr.encoder == "scratch" and made["full"].vptr.encoder == ""
  assert made["full"].env.task == "window-open" and "rewards" not in made["full"].vptr
  (video,) = (each for name, _, each in phases if name == "finetune")
  assert video.finetune.loss == "expectile" and "vptr" not in video
  (robot, target) = (each for name, _, each in phases if name == "robot_data")
  assert robot.corpus.controls == ("torque",) and robot.corpus.random_episodes
  assert target.robot_data.tasks == ("window-open",) and target.corpus.expert_episodes == 20
  assert not target.corpus.random_episodes and target.robot_data.placement == 0
  cells = cells_of(tmp_path)
  key = ("window-open", "20")
  assert cells[*key, "full"] == [
    "2", "50% [50%, 50%]", "25% [25%, 25%]", "1,234", "31,700", "420 (320 succeed)", "0",
    "6 min 00 s",
  ]  # fmt: skip
  assert cells[*key, "without robot data"][4:6] == ["1,700", "20 (20 succeed)"]
  assert cells[*key, "without video"][3:5] == ["0", "31,700"]
  assert cells[*key, "vip encoder"][0] == "1" and cells[*key, "vip encoder"][3] == "mini"
  text = page.read_text()
  assert FROZEN in (tmp_path / "table.md").read_text() and "frozen rows fail" in text
  assert "vip_encoder/seed1: expected rewards, got none" in text and "-25.00" in text
  # What is done is not done again.
  before = len(phases)
  run(config, tmp_path)
  assert len(phases) == before + 1


def test_rewards_are_runs_of_the_pipeline_at_every_target(config, tmp_path, phases):
  config.vptr.stages, config.vptr.seeds = ("video", "reward"), (3,)
  config.vptr.tasks, config.vptr.target_episodes = ("window-open", "drawer-close"), (1, 5)
  config.vptr.route = ("policy.steps=900",)
  run(config, tmp_path)
  # ICVF as reward starts from phase 1.
  assert folders_of(phases, tmp_path, "corpus", "finetune") == ["video/full"] * 2
  targets = [f"{task}_{count}" for task in ("drawer-close", "window-open") for count in (1, 5)]
  wanted = [f"{target}/{name}/seed3" for target in targets for name in REWARDS]
  assert sorted(folders_of(phases, tmp_path, "pipeline")) == wanted
  # The ideal potential is given no films.
  wanted = [f"{task}_0/ideal_potential/seed3" for task in ("window-open", "drawer-close")]
  assert folders_of(phases, tmp_path, "policy") == wanted
  made = {
    (folder.parent.parent.name, folder.parent.name): each
    for name, folder, each in phases
    if name in ("pipeline", "policy")
  }
  for (target, name), each in made.items():
    assert each.seed == 3 and each.policy.steps == 900 and each.env.horizon == 200
    assert target.startswith(each.env.task) and "vptr" not in each
    assert ("ceiling" in each) == (name == "ideal_potential")
    assert target.endswith("_0") or target.endswith(f"_{each.record.episodes}")
  assert made["window-open_5", "vip_route"].reward.robot_free_weight == 0
  assert list(made["drawer-close_5", "vip_route"].policy.views) == ["front"]
  assert made["window-open_5", "best_route_same_input"].policy.input == "frame"
  assert made["window-open_5", "hilp"].finetune.loss == "expectile"
  assert made["window-open_5", "best_route"].encoder.init == "mini"
  assert made["window-open_5", "icvf"].encoder.init == str(tmp_path / "video" / "full" / "encoder")
  assert made["drawer-close_0", "ideal_potential"].reward.potential == "subgoal"
  cells = cells_of(tmp_path)
  # Films, three control steps an action, and no time of what only judges.
  assert cells["window-open", "5", "best route"] == [
    "1", "100%", "50%", "20 + mini", "0", "0", "72,000", "1 min 00 s",
  ]  # fmt: skip
  assert cells["window-open", "1", "icvf"][3] == "4 + 1,234"
  assert cells["window-open", "1", "icvf"][-1] == "3 min 00 s"
  ideal = cells["drawer-close", "0", "ideal potential"]
  assert ideal[1:4] == ["75%", "25%", "0"] and ideal[6] == "72,000"


def test_a_row_goes_on_online_from_phases_that_it_shares(config, tmp_path, phases):
  config.vptr.only, config.vptr.seeds = ("full_online",), (0,)
  page = run(config, tmp_path)
  assert folders_of(phases, tmp_path, "robot") == ["robot/full/seed0"]
  wanted = ["window-open_20/full_online/seed0"]
  assert folders_of(phases, tmp_path, "target") == folders_of(phases, tmp_path, "online") == wanted
  cells = cells_of(tmp_path)["window-open", "20", "full online"]
  assert cells[1:3] == ["75%", "50%"]
  assert cells[4:7] == ["81,700", "780 (410 succeed)", "50,000"]
  assert "window-open, 20 episodes, then own" in page.read_text()


def test_a_row_whose_encoder_learns_has_a_second_phase_of_its_own(config, tmp_path, phases):
  config.vptr.only, config.vptr.seeds = ("full_encoder_learns", "full"), (0,)
  run(config, tmp_path)
  assert folders_of(phases, tmp_path, "corpus") == ["video/full"]
  wanted = ["robot/full_encoder_learns/seed0", "robot/full/seed0"]
  assert folders_of(phases, tmp_path, "robot") == wanted
  assert [each.vptr.encoder_learns for name, _, each in phases if name == "robot"] == [True, False]
  cells = cells_of(tmp_path)
  of_videos = [cells["window-open", "20", name][3] for name in ("full", "full encoder learns")]
  assert of_videos == ["1,234", "1,234, encoder learns"]


def test_a_stage_alone(config, tmp_path, phases):
  config.vptr.stages, config.vptr.only = ("video",), ("without_robot_data",)
  assert run(config, tmp_path) is None
  assert folders_of(phases, tmp_path) == ["video/full"] * 2
  config.vptr.stages, config.vptr.only = ("robot",), ("full",)
  page = run(config, tmp_path)
  assert [name for name, *_ in phases[2:]] == ["robot_data", "robot", "robot"]
  assert "full: robot data" in page.read_text()
  # Data that are given are not recorded; an encoder that is given needs no phase 1.
  elsewhere = tmp_path / "elsewhere"
  config.vptr.stages = ("robot", "target")
  config.vptr.data, config.vptr.target_data, config.vptr.encoder = "mine", "mine", "mini"
  run(config, elsewhere)
  assert {name for name, folder, _ in phases if elsewhere in folder.parents} == {"robot", "target"}


def test_without_phase_1_there_is_no_encoder(config, tmp_path, phases):
  config.vptr.stages, config.vptr.only, config.vptr.seeds = ("robot",), ("full",), (0,)
  page = run(config, tmp_path)
  assert "expected the encoder of phase 1" in page.read_text()


def test_the_targets_are_held_out_and_have_an_expert():
  from vipjax.ids import SOLVED

  config = config_lib.get_config()
  assert len(config.vptr.tasks) == 3
  assert set(config.vptr.tasks) <= set(config.corpus.held_out) & set(SOLVED["sawyer", "torque"])


@pytest.mark.parametrize(
  ("key", "value", "words"),
  [
    ("stages", ("videos",), "config.vptr.stages among video, robot, target, reward"),
    ("only", ("ful",), r"config.vptr.only among .*full.*got \['ful'\]"),
    ("tasks", ("window",), "tasks in config.vptr.tasks, got \\['window'\\]"),
    ("video", ('finetune.los="vip"',), "changes like .* got 'finetune.los"),
    ("route", ("policy.step=1",), "changes like .* got 'policy.step"),
    ("target_episodes", (0,), "config.vptr.target_episodes of one or more whole numbers"),
    ("target_share", 2.0, "config.vptr.target_share above 0, at most 1"),
    ("colour_jitter", (0.1, 0.1), "config.vptr.colour_jitter of four numbers from 0 to 1"),
  ],
)
def test_bad_settings_are_one_sentence(config, tmp_path, key, value, words):
  config.vptr[key] = value
  with pytest.raises(UserError, match=words):
    run(config, tmp_path)
