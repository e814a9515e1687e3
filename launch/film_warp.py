"""Films the expert as MuJoCo Warp draws it, so that videos, goals and the agent look alike.

    python -m launch.film_warp --config=configs/warp.py --workdir=runs/warp

It plays the episodes that `launch.export_scene --episodes` wrote beside the scene of
config.policy.scene, and takes the place of launch.record.
"""

from vipjax.runtime import launcher, run_folder

_FLAGS = launcher.define_flags("configs/warp.py")


def main(_):
  from vipjax.stages.warp_policy import film_expert

  workdir = run_folder.open_run(_FLAGS.workdir, _FLAGS.config, _FLAGS.overwrite)
  told = film_expert(_FLAGS.config, workdir)
  print(f"{told['videos']} videos, {told['frames']} frames in {workdir / 'videos'}")


if __name__ == "__main__":
  launcher.run(main)
