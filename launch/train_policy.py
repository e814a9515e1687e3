"""Trains a policy with SAC on the fine-tuned encoder's reward alone; resumes by itself.

python -m launch.train_policy --config=configs/demo.py --workdir=runs/demo
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags()


def main(_):
  from vipjax.stages.train_policy import train_policy

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  result = train_policy(_FLAGS.config, workdir)
  print(f"success in {result['policy_success']:.0%} of {result['episodes']} evaluation episodes")


if __name__ == "__main__":
  launcher.run(main, renders=True)
