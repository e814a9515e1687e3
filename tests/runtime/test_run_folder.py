"""Run folders: made, resumed, refused, overwritten; stages; JSON files."""

import json
import os
import subprocess
import sys

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import paper
from vipjax.runtime import files, places, run_folder, versions
from vipjax.runtime.errors import UserError


def make_config(steps=500):
  return ml_collections.ConfigDict(
    {"seed": 0, "sizes": (64, 64), "finetune": {"steps": steps, "rate": 1e-4}}
  )


def test_a_new_run_writes_config_and_versions(tmp_path):
  workdir = run_folder.open_run(tmp_path / "runs" / "a", make_config(), overwrite=False)
  assert workdir == tmp_path / "runs" / "a"
  assert json.loads((workdir / "config.json").read_text()) == {
    "seed": 0,
    "sizes": [64, 64],
    "finetune": {"steps": 500, "rate": 1e-4},
  }
  versions = files.read_json(workdir / "versions.json")
  assert set(versions) == {"packages", "python", "platform", "git_commit", "devices", "date"}
  assert versions["packages"]["jaxlib"]
  assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
  assert versions["devices"][0].startswith("cpu")


def test_the_same_config_resumes(tmp_path):
  workdir = run_folder.open_run(tmp_path / "a", make_config())
  (workdir / "kept").touch()
  versions = (workdir / "versions.json").read_text()
  # A list read back from JSON and a tuple are the same config.
  assert run_folder.open_run(tmp_path / "a", make_config().to_dict()) == workdir
  assert (workdir / "kept").exists()
  assert (workdir / "versions.json").read_text() == versions


def test_resuming_elsewhere_is_noted_once(tmp_path, monkeypatch):
  workdir = run_folder.open_run(tmp_path / "a", make_config())
  first = files.read_json(workdir / "versions.json")
  monkeypatch.setattr(
    run_folder, "current_versions", lambda: {**first, "python": "3.99.0", "date": "x"}
  )
  for _ in range(2):
    run_folder.open_run(workdir, make_config())
  versions = files.read_json(workdir / "versions.json")
  assert versions["python"] == first["python"]
  assert [later["python"] for later in versions["resumed"]] == ["3.99.0"]


def test_another_config_is_refused_by_name(tmp_path):
  workdir = run_folder.open_run(tmp_path / "a", make_config())
  other = make_config(steps=7)
  other.extra = "new"
  with pytest.raises(UserError) as caught:
    run_folder.open_run(workdir, other)
  message = str(caught.value)
  assert "finetune.steps (there 500, now 7)" in message and "extra" not in message
  assert "--overwrite" in message and "--workdir" in message
  assert "seed" not in message


def test_a_run_of_an_earlier_version_goes_on_with_keys_it_did_not_know(tmp_path):
  workdir = run_folder.open_run(tmp_path / "a", make_config())
  later = make_config()
  later.extra = "new"
  run_folder.open_run(workdir, later)
  assert files.read_json(workdir / "config.json") == files.jsonable(later)
  with pytest.raises(UserError, match=r'extra \(there "new", now absent\)'):
    run_folder.open_run(workdir, make_config())


def test_what_is_not_chosen_is_the_runs_own(tmp_path):
  was = files.jsonable(paper.get_config())
  was["policy"]["target_entropy"] = -4.0
  workdir = run_folder.open_run(tmp_path / "a", was)
  config = paper.get_config().lock()
  assert config.policy.target_entropy is None
  run_folder.open_run(workdir, config)
  assert config.policy.target_entropy == -4.0
  assert files.read_json(workdir / "config.json") == was
  config.policy.target_entropy = -3.0
  with pytest.raises(UserError, match=r"policy.target_entropy \(there -4.0, now -3.0\)"):
    run_folder.open_run(workdir, config)


def test_what_a_run_did_not_choose_stays_so(tmp_path):
  workdir = run_folder.open_run(tmp_path / "a", paper.get_config())
  stored = files.read_json(workdir / "config.json")
  assert stored["policy"]["target_entropy"] is None
  run_folder.open_run(workdir, paper.get_config())
  assert files.read_json(workdir / "config.json") == stored
  assert run_folder.run_config(workdir, paper.get_config()).policy.target_entropy is None


def test_killed_while_it_was_made_or_deleted_it_is_made_again(tmp_path, monkeypatch):
  (tmp_path / ".versions.json.x1").write_text("{")
  workdir = run_folder.open_run(tmp_path, make_config())
  (workdir / "videos").mkdir()
  (workdir / "videos" / "a.mp4").write_text("film")

  def killed(path):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(run_folder.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
      run_folder.open_run(workdir, make_config(), overwrite=True)
  run_folder.open_run(workdir, make_config(), overwrite=True)
  left = {path.name for path in workdir.iterdir()}
  assert left == {"config.json", "versions.json", places.LOCK}


def test_many_differences_are_counted(tmp_path):
  workdir = run_folder.open_run(tmp_path / "a", {str(i): 0 for i in range(5)})
  with pytest.raises(UserError, match=r"2 \(there 0, now 1\) and 2 more"):
    run_folder.open_run(workdir, {str(i): 1 for i in range(5)})


def test_overwrite_starts_over(tmp_path):
  workdir = run_folder.open_run(tmp_path / "a", make_config())
  (workdir / "old").touch()
  run_folder.mark_done(workdir, "record", {}, 1.0)
  run_folder.open_run(workdir, make_config(steps=7), overwrite=True)
  assert not (workdir / "old").exists()
  assert not run_folder.stage_done(workdir, "record")
  assert files.read_json(workdir / "config.json")["finetune"]["steps"] == 7


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_never_touched(tmp_path, overwrite):
  # An encoder artefact has a config.json too.
  (tmp_path / "config.json").write_text("{}")
  (tmp_path / "model.safetensors").write_text("precious")
  with pytest.raises(UserError, match="with other files.*another --workdir"):
    run_folder.open_run(tmp_path, make_config(), overwrite)
  assert (tmp_path / "model.safetensors").read_text() == "precious"


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_empty_folder_will_do_and_a_file_will_not(tmp_path, overwrite):
  assert run_folder.open_run(tmp_path, make_config(), overwrite) == tmp_path
  with pytest.raises(UserError, match="got the file"):
    run_folder.open_run(tmp_path / "config.json", make_config(), overwrite)


def test_a_run_killed_while_it_was_made_begins_anew(tmp_path):
  workdir = run_folder.open_run(tmp_path / "a", make_config())
  (workdir / "config.json").unlink()
  run_folder.open_run(workdir, make_config(steps=7))
  assert files.read_json(workdir / "config.json")["finetune"]["steps"] == 7


def test_stages(tmp_path):
  assert not run_folder.stage_done(tmp_path, "record")
  with pytest.raises(UserError, match="'record' to be finished"):
    run_folder.stage_result(tmp_path, "record")
  run_folder.mark_done(tmp_path, "record", {"videos": 4, "length": jnp.float32(0.5)}, 12.5)
  assert run_folder.stage_done(tmp_path, "record")
  assert not run_folder.stage_done(tmp_path, "finetune")
  assert run_folder.stage_result(tmp_path, "record") == {"videos": 4, "length": 0.5}
  assert run_folder.stage_seconds(tmp_path, "record") == 12.5


def test_json_of_what_runs_produce(tmp_path):
  value = {
    "array": np.arange(4).reshape(2, 2),
    "jax": jnp.asarray([1.0, jnp.nan]),
    "scalar": np.float32(0.25),
    "infinite": float("inf"),
    "path": tmp_path,
    3: (True, None, "text"),
  }
  files.write_json(tmp_path / "new" / "value.json", value)
  assert files.read_json(tmp_path / "new" / "value.json") == {
    "array": [[0, 1], [2, 3]],
    "jax": [1.0, None],
    "scalar": 0.25,
    "infinite": None,
    "path": str(tmp_path),
    "3": [True, None, "text"],
  }
  with pytest.raises(TypeError, match="JSON can hold, got set"):
    files.write_json(tmp_path / "value.json", {"set": {1}})


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
  path = tmp_path / "value.json"
  files.write_json(path, {"old": 1})

  def fail(*unused):
    raise OSError("disk full")

  with monkeypatch.context() as patch:
    patch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
      files.write_json(path, {"new": 2})
  assert files.read_json(path) == {"old": 1}
  assert os.listdir(tmp_path) == ["value.json"]


def test_written_files_have_the_usual_permissions(tmp_path):
  (tmp_path / "usual").touch()
  files.write_json(tmp_path / "ours", 1)
  assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_unreadable_json(tmp_path):
  with pytest.raises(UserError, match="got none"):
    files.read_json(tmp_path / "absent.json")
  assert files.read_json(tmp_path / "absent.json", {}) == {}
  (tmp_path / "broken.json").write_text("{")
  with pytest.raises(UserError, match="got something else"):
    files.read_json(tmp_path / "broken.json")


def test_the_git_commit_is_that_of_the_checkout(tmp_path, monkeypatch):
  checkout = tmp_path / "checkout"
  source = checkout / "vipjax" / "runtime" / "run_folder.py"
  source.parent.mkdir(parents=True)
  source.touch()
  monkeypatch.setattr(versions, "__file__", str(source))
  assert versions.current_versions()["git_commit"] is None

  def git(*arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(checkout), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

  git("init", "-q")
  assert versions.current_versions()["git_commit"] is None
  git("add", ".")
  git("commit", "-q", "-m", "first")
  commit = git("rev-parse", "HEAD")
  assert versions.current_versions()["git_commit"] == commit
  source.write_text("changed")
  assert versions.current_versions()["git_commit"] == f"{commit}-dirty"


def test_a_runs_own_config_is_completed_with_new_keys(tmp_path):
  made = ml_collections.ConfigDict({"seed": 3, "data": {"path": "x"}, "old": 1})
  workdir = run_folder.open_run(tmp_path / "run", made)
  declared = ml_collections.ConfigDict(
    {"seed": 0, "data": {"path": "", "size": 0}, "evaluate": {"n": 2}}
  )
  config = run_folder.run_config(workdir, declared)
  assert config.to_dict() == {
    "seed": 3,
    "data": {"path": "x", "size": 0},
    "evaluate": {"n": 2},
    "old": 1,
  }
  with pytest.raises(UserError, match="expected a run folder"):
    run_folder.run_config(tmp_path, declared)
