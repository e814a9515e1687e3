"""Fine-tunes an encoder on the run's videos (or on --config.data.path); resumes by itself.

    python -m launch.finetune --config=configs/demo.py --workdir=runs/demo

With --config.reward.robot_free=predicted it also trains encoders that look past the robot, in
encoder_robot_free/, from videos with and without it.

On several hosts that share the run folder, run the same command on each with its own number:

    ... --coordinator=host0:1234 --num_processes=2 --process_id=0

or with --coordinator=auto under SLURM, Open MPI, Kubernetes or on a TPU pod.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()
launcher.define_host_flags()


def main(_):
  from vipjax.reward.settings import PREDICTED
  from vipjax.stages.agent import require_predictable
  from vipjax.stages.finetune import finetune
  from vipjax.stages.robot_free import train_robot_free
  from vipjax.stages.sections import check_config

  check_config(_FLAGS.config)
  require_predictable(_FLAGS.config)
  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  result = finetune(_FLAGS.config, workdir)
  print(f"{result['steps']} steps on {result['videos']} videos; encoder in {workdir / 'encoder'}")
  if _FLAGS.config.reward.robot_free == PREDICTED:
    train_robot_free(_FLAGS.config, workdir)


if __name__ == "__main__":
  launcher.run(main)
