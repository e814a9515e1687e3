"""Films the scripted expert from every view, with and without the robot.

    python -m launch.record --config=configs/demo.py --workdir=runs/demo
    python -m launch.record --config=configs/pretrain.py --workdir=runs/pretrain
    python -m launch.record --config=configs/robot_data.py --workdir=runs/robot_data

With a config that declares stages of pretraining it records their corpora of many tasks, with one
of robot data the same episodes with actions.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from vipjax.experiments.pretraining import record_stages
  from vipjax.stages.record import record
  from vipjax.stages.robot_data import FOLDER, record_robot_data

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  if "robot_data" in _FLAGS.config:
    facts = record_robot_data(_FLAGS.config, workdir)
    counts = f"{facts['trajectories']} trajectories ({facts['successes']} succeed)"
    print(f"{counts}, {facts['steps']} steps of {len(facts['tasks'])} tasks in {workdir / FOLDER}")
  elif "pretrain" in _FLAGS.config:
    for name, result in record_stages(_FLAGS.config, workdir).items():
      _tell(result, workdir / name)
  else:
    _tell(record(_FLAGS.config, workdir), workdir)


def _tell(result, folder):
  print(f"{result['videos']} videos, {result['frames']} frames in {folder / 'videos'}")


if __name__ == "__main__":
  launcher.run(main, renders=True)
