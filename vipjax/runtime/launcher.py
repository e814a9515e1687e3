"""The common parts of all launchers: flags, the environment, and errors in one line.

Import it before anything that imports MuJoCo, because this import chooses the GL library.

    _FLAGS = launcher.define_flags("configs/demo.py")

    def main(_):
      finetune(_FLAGS.config, _FLAGS.workdir)

    if __name__ == "__main__":
      launcher.run(main)
"""

from __future__ import annotations

import difflib
import io
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_dict, config_flags

from vipjax.runtime import cache, config_words, gl, ranges
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError, full_disk


def _use_all_cores() -> None:
  """Makes every core a device, before JAX is imported; a GPU's devices stay as they are.

  XLA gains little from more than one core for a network of small convolutions, but data
  parallelism uses all cores.
  """
  name = "--xla_force_host_platform_device_count"
  if name not in os.environ.get("XLA_FLAGS", ""):
    given = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{given} {name}={usable_cores()}".strip()


# The flags below belong to the launcher that asks for them, so its --help shows them.
flags.disclaim_key_flags()
gl.configure()
_use_all_cores()
# `!python -m` in a notebook inherits a backend that may not be installed, for which matplotlib
# raises; no launcher opens a window.
os.environ["MPLBACKEND"] = "agg"

# The launcher's default --config; one process runs one launcher.
_default_config: str | None = None


class LaunchFlags:
  """The flags of every launcher; read them inside `main`, after parsing."""

  @property
  def config(self) -> config_dict.ConfigDict:
    """The config with its overrides, locked against unknown keys.

    Raises:
      UserError: no --config was given and the launcher has no default, or a number is out of range.
    """
    if flags.FLAGS.config is None:
      raise UserError("expected a config, got none; give --config=configs/demo.py.")
    ranges.check("", flags.FLAGS.config)
    return flags.FLAGS.config

  @property
  def workdir(self) -> pathlib.Path:
    """The run folder: --workdir, else runs/<name of the config file>[_<preset>].

    Raises:
      UserError: neither flag was given.
    """
    if flags.FLAGS.workdir:
      return pathlib.Path(flags.FLAGS.workdir).expanduser()
    if flags.FLAGS.config is None:
      raise UserError("expected a run folder, got none; give --workdir=runs/demo.")
    file, _, preset = flags.FLAGS["config"].config_filename.partition(":")
    name = pathlib.Path(file).stem
    return pathlib.Path("runs") / (f"{name}_{preset}" if preset else name)

  @property
  def folder_of_runs(self) -> pathlib.Path:
    """`workdir`, absolute, of an experiment with many runs; raises UserError for --overwrite."""
    if self.overwrite:
      raise UserError("expected no --overwrite with many runs, got one; delete runs instead.")
    return self.workdir.absolute()

  @property
  def overwrite(self) -> bool:
    """True to delete the run in the folder and start over."""
    return flags.FLAGS.overwrite


def define_config_flag(default_config: str | None = None) -> LaunchFlags:
  """Defines --config alone, for a launcher without a run folder; else as `define_flags`."""
  global _default_config
  _default_config = default_config
  # _parse_flags adds the default to the command line. If it were given here, ml_collections would
  # load it while Python imports the launcher, where no error can be reported in one line.
  config_flags.DEFINE_config_file(
    "config",
    None,
    "the experiment, FILE or FILE:PRESET; --config.key=value overrides one of its keys"
    + (f" (default: {default_config})" if default_config else ""),
    lock_config=True,
  )
  return LaunchFlags()


def define_flags(default_config: str | None = None) -> LaunchFlags:
  """Defines --config, --workdir, --overwrite and --wandb; call it once, on the launcher's import.

  Args:
    default_config: the config file of a launcher that runs without --config.

  Returns:
    The flags; read their attributes inside `main`.
  """
  made = define_config_flag(default_config)
  flags.DEFINE_string(
    "workdir", None, "the run folder (default: runs/ and the name of the config file)"
  )
  flags.DEFINE_bool("overwrite", False, "delete the run in the folder and start over")
  flags.DEFINE_string(
    "wandb",
    None,
    "the Weights & Biases project that gets what TensorBoard gets; with WANDB_MODE=offline it "
    "stays in the run folder",
  )
  return made


def define_host_flags() -> None:
  """Defines the flags of a launcher that several processes can run together."""
  flags.DEFINE_string(
    "coordinator",
    None,
    "with several processes: HOST:PORT of the first one, or auto where SLURM, Open MPI, Kubernetes "
    "or a TPU pod says",
  )
  flags.DEFINE_integer("num_processes", None, "how many processes run this together")
  flags.DEFINE_integer("process_id", None, "the number of this process, from 0")


def run(main: Callable[[Sequence[str]], Any], renders: bool = False, words: int = 0) -> None:
  """Runs a launcher: parses the flags, calls `main`, and ends the process.

  An error that the user can correct ends it with one line, "error: ...", and status 1; Ctrl-C ends
  it with a line that says how to continue, and status 130. Any other error is a bug of this package
  and shows its traceback.

  Args:
    main: called with the program's name and the arguments that are not flags.
    renders: whether it draws frames; a missing GL library then ends it before any work.
    words: the largest number of arguments that are not flags.
  """

  def guarded(argv):
    # Orbax logs every save as information, which would flood the progress bars.
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)
    try:
      if words and argv[words + 1 :]:
        raise UserError(
          f"expected flags after '{argv[words]}', got '{argv[words + 1]}'; leave it out."
        )
      if not words and argv[1:]:
        raise UserError(f"expected flags only, got '{argv[1]}'; did you mean --config=...?")
      if renders:
        gl.require()
        print(gl.explain(), file=sys.stderr, flush=True)
      _meet_others()
      cache.use_compilation_cache()
      _require_devices()
      if "wandb" in flags.FLAGS and flags.FLAGS.wandb:
        from vipjax.runtime import wandb_run  # here, because it imports JAX

        wandb_run.enable(flags.FLAGS.wandb)
      return main(argv)
    except UserError as error:
      _exit_with(error)
    except KeyboardInterrupt:
      print("\ninterrupted; run the same command again to go on", file=sys.stderr, flush=True)
      _exit(130)
    except Exception as error:  # XLA's errors have no class of their own
      known = _as_user_error(error)
      if known is None:
        raise
      _exit_with(known)

  if isinstance(sys.stdout, io.TextIOWrapper):
    # A letter that the output's encoding lacks appears as its number.
    sys.stdout.reconfigure(errors="backslashreplace")
  app.run(guarded, flags_parser=_parse_flags)


def _meet_others() -> None:
  given = {
    name: flags.FLAGS[name].value
    for name in ("coordinator", "num_processes", "process_id")
    if name in flags.FLAGS and flags.FLAGS[name].value is not None
  }
  if given:
    from vipjax.runtime import hosts  # here, so that --help and wrong flags answer at once

    hosts.connect(**{"coordinator": "", **given})


def _require_devices() -> None:
  import jax  # here, so that --help and wrong flags answer at once

  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # the latter without the platform's plugin
    platforms = os.environ.get("JAX_PLATFORMS", "")
    said = f" ({' '.join(str(error).split())[:160]})" if str(error) else ""
    raise UserError(
      f"expected a device for JAX, got none for JAX_PLATFORMS={platforms}{said}; unset that "
      "environment variable, or set it to cpu."
    ) from error


def _as_user_error(error: Exception) -> UserError | None:
  """Returns the UserError for an error of another class that the user can correct, else None."""
  if isinstance(error, RuntimeError) and str(error) == "Could not determine home directory.":
    return UserError("expected a home folder for '~', got none; write the path out.")
  hosts = sys.modules.get("vipjax.runtime.hosts")
  return full_disk(error) or (hosts.peer_failure(error) if hosts else None)


def _exit(status: int) -> NoReturn:
  hosts = sys.modules.get("vipjax.runtime.hosts")
  if hosts and hosts.connected():
    hosts.leave(status)
  sys.exit(status)


def _exit_with(error: BaseException) -> None:
  print(f"error: {error}", file=sys.stderr, flush=True)
  _exit(1)


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; an error in it ends the process with one sentence."""
  if _default_config is not None and not any(config_words.CONFIG.match(arg) for arg in argv):
    argv = [argv[0], f"--config={_default_config}", *argv[1:]]
  try:
    config_words.check(argv)
    return flags.FLAGS(argv)
  except UserError as error:
    _exit_with(error)
  except flags.UnrecognizedFlagError as error:
    near = difflib.get_close_matches(error.flagname, list(flags.FLAGS), n=1)
    advice = f"did you mean --{near[0]}?" if near else "--help lists the flags."
    _exit_with(UserError(f"expected a flag of this command, got --{error.flagname}; {advice}"))
  except flags.IllegalFlagValueError as error:
    _exit_with(config_words.illegal_value(error, argv))
  except TypeError as error:
    # ml_collections raises this if a config file gives a key a value of another type.
    if not str(error).startswith("Could not override field"):
      raise
    _exit_with(
      UserError(
        f"expected values of the keys' types in the config file, got '{error}'; correct it."
      )
    )
  except flags.Error as error:
    _exit_with(UserError(" ".join(str(error).split())))
  except SystemExit:
    # absl ends --help with status 1, as it ends a failure.
    if any(arg.lstrip("-").startswith("help") for arg in argv[1:]):
      sys.exit(0)
    raise
