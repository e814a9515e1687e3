"""V-PTR's rows: their configs, what they share, what the page tells; the phases stand in."""

import pytest

from configs import vptr as config_lib
from vipjax.experiments import runs, vptr
from vipjax.experiments.vptr_page import FROZEN
from vipjax.runtime import run_folder
from vipjax.runtime.errors import UserError

HEALTH = {
  "q_data": -20.0, "q_pi": -25.0, "q_random": -50.0, "bounded": 0.5, "return": -21.0,
  "q_above_return": 1.0, "q_return_correlation": 0.9,
}  # fmt: skip
ROWS = ("behaviour_cloning", "full", "vip_encoder", "without_robot_data", "without_video")


@pytest.fixture
def config():
  config = config_lib.get_config()
  config.vptr.video, config.vptr.seeds = ('finetune.loss="expectile"',), (0, 1)
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

  counts = {"trajectories": 400, "steps": 30_000, "successes": 300, "updates": 5}
  target = {"trajectories": 20, "steps": 1700, "successes": 20, "episodes": 20}
  for function, name, result in (
    ("record_corpus", "corpus", {}),
    ("finetune", "finetune", {"videos": 1234}),
    ("record_robot_data", "robot_data", {}),
    ("train_robot", "robot", {**counts, **HEALTH}),
    ("train_target", "target", {**target, **HEALTH, "success": 0.5, "final_success": 0.25}),
  ):
    monkeypatch.setattr(vptr, function, stand_in(name, result))
  monkeypatch.setattr(vptr.encoder, "load", lambda path: str(path))
  monkeypatch.setattr(runs, "share_out", lambda work, jobs, **_: map(work, jobs))
  return done


def test_rows_share_phase_1_and_data_and_the_page_says_what_each_was_given(
  config, tmp_path, phases
):
  page = vptr.run_vptr(config, tmp_path)
  folders = {
    name: [folder.relative_to(tmp_path).as_posix() for each, folder, _ in phases if each == name]
    for name in ("corpus", "finetune", "robot_data", "robot", "target")
  }
  assert folders["corpus"] == folders["finetune"] == ["video/full"]
  assert folders["robot_data"] == ["data", "target/window-open_20"]
  # Without robot data there is no second phase.
  rows = [f"{name}/seed{seed}" for seed in (0, 1) for name in ("full", *ROWS) if name in ROWS]
  assert set(folders["target"]) == set(rows)
  assert set(folders["robot"]) == {row for row in rows if "without_robot_data" not in row}
  made = {folder.parent.name: each for name, folder, each in phases if name == "target"}
  assert made["behaviour_cloning"].vptr.clone_updates >= 10**9
  assert made["without_video"].vptr.encoder == "scratch" and made["full"].vptr.encoder == ""
  (video,) = (each for name, _, each in phases if name == "finetune")
  assert video.finetune.loss == "expectile" and "vptr" not in video
  (robot, target) = (each for name, _, each in phases if name == "robot_data")
  assert robot.corpus.controls == ("torque",) and robot.corpus.random_episodes
  assert target.robot_data.tasks == ("window-open",) and target.corpus.expert_episodes == 20
  assert not target.corpus.random_episodes and target.robot_data.placement == 0
  lines = (tmp_path / "table.md").read_text().splitlines()
  cells = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("|")}
  assert cells["full"] == (
    "| full | 2 | 50% [50%, 50%] | 25% [25%, 25%] | 1,234 | 31,700 | 420 (320 succeed) | 0 | "
    "3 min 00 s |"
  )
  assert "| 1,700 | 20 (20 succeed) |" in cells["without robot data"]
  assert "| 0 | 31,700 |" in cells["without video"] and "| mini |" in cells["vip encoder"]
  # One run failed of what a user can mend: its second phase is there alone.
  text = page.read_text()
  assert FROZEN in "\n".join(lines) and "frozen rows fail" in text
  assert "vip_encoder/seed1: expected rewards, got none" in text and "-25.00" in text
  # What is done is not done again.
  before = len(phases)
  vptr.run_vptr(config, tmp_path)
  assert len(phases) == before + 1


def test_a_stage_alone(config, tmp_path, phases):
  config.vptr.stages, config.vptr.only = ("video",), ("without_robot_data",)
  assert vptr.run_vptr(config, tmp_path) is None
  assert [name for name, *_ in phases] == ["corpus", "finetune"]
  assert phases[0][1] == tmp_path / "video" / "full"
  config.vptr.stages, config.vptr.only = ("robot",), ("full",)
  vptr.run_vptr(config, tmp_path)
  assert [name for name, *_ in phases[2:]] == ["robot_data", "robot", "robot"]
  # Data that are given are not recorded; an encoder that is given needs no phase 1.
  elsewhere = tmp_path / "elsewhere"
  config.vptr.stages = ("robot", "target")
  config.vptr.data, config.vptr.target_data, config.vptr.encoder = "mine", "mine", "mini"
  vptr.run_vptr(config, elsewhere)
  assert {name for name, folder, _ in phases if elsewhere in folder.parents} == {"robot", "target"}


def test_without_phase_1_there_is_no_encoder(config, tmp_path, phases):
  config.vptr.stages, config.vptr.only, config.vptr.seeds = ("robot",), ("full",), (0,)
  page = vptr.run_vptr(config, tmp_path)
  assert "expected the encoder of phase 1" in page.read_text()


@pytest.mark.parametrize(
  ("key", "value", "words"),
  [
    ("stages", ("videos",), "config.vptr.stages among video, robot, target"),
    ("only", ("ful",), r"config.vptr.only among .*full.*got \['ful'\]"),
    ("video", ('finetune.los="vip"',), "changes like .* got 'finetune.los"),
    ("target_share", 2.0, "config.vptr.target_share above 0, at most 1"),
  ],
)
def test_bad_settings_are_one_sentence(config, tmp_path, key, value, words):
  config.vptr[key] = value
  with pytest.raises(UserError, match=words):
    vptr.run_vptr(config, tmp_path)
