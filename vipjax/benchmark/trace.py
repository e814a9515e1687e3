"""What the parts of a compiled program take, from a trace that `jax.profiler` wrote."""

from __future__ import annotations

import collections
import os
import pathlib
import re
import tempfile
from collections.abc import Callable
from typing import Any

import jax

# `%name = type opcode(operands), ..., metadata={op_name="path of the function" ...}`
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = .*?\s([a-z][\w\-]*)\(")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
# They take the time of what is inside them, which is in the trace, too.
_AROUND_OTHERS = ("while", "call", "conditional")
# By the first that an instruction's path contains. `jvp` marks what is differentiated, `vmap` the
# pictures of a batch, each with a crop of its own.
_PARTS = (
  (("ResNet", "conv"), "convolutions"),
  (("ResNet", "norm"), "BatchNorm"),
  (("ResNet",), "the network's other layers"),
  (("threefry",), "random numbers"),
  (("jvp", "vmap"), "crops"),
  (("jvp",), "losses"),
  (("jit(",), "drawing clips, optimiser, guards"),
)


def part_of(op_name: str) -> str:
  """The part of a training step that an instruction's path belongs to."""
  for words, part in _PARTS:
    if all(word in op_name for word in words):
      back = "transpose(" in op_name and part != "random numbers"
      return f"{part}, gradient" if back else part
  return "copies and what has no name"


def instructions(compiled_text: str) -> dict[str, str]:
  """Paths by name of a compiled program's instructions, of those that take time by themselves.

  Args:
    compiled_text: what `as_text` of a compiled program returns.
  """
  found = {}
  for line in compiled_text.splitlines():
    match = _INSTRUCTION.match(line)
    if match and match.group(2) not in _AROUND_OTHERS:
      path = _OP_NAME.search(line)
      found[match.group(1)] = path.group(1) if path else ""
  return found


def read_trace(folder: str | os.PathLike, known: dict[str, str]) -> dict[str, float]:
  """Seconds by part in a trace's events that are known instructions, most first.

  Args:
    folder: where `jax.profiler.trace` wrote.
    known: of `instructions`.
  """
  (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
  planes = list(jax.profiler.ProfileData.from_file(str(file)).planes)
  # Of a GPU the kernels' own times count, not the host's, which launches them.
  devices = [plane for plane in planes if plane.name.startswith("/device:")]
  for group in (devices, planes):
    seconds: collections.Counter[str] = collections.Counter()
    for plane in group:
      lines = list(plane.lines)
      named = [line for line in lines if line.name == "XLA Ops"]
      for line in named or lines:
        for event in line.events:
          name = event.name.lstrip("%")
          # A kernel says whose it is. On the host names are those of instructions, and of some
          # events there jax 0.12 cannot read the statistics: it ends the process.
          if name not in known and group is devices:
            name = str(dict(event.stats).get("hlo_op")).lstrip("%")
          if name in known:
            seconds[part_of(known[name])] += event.duration_ns / 1e9
    if seconds:
      return dict(seconds.most_common())
  return {}


def profile(compiled: Any, run: Callable[[], Any]) -> dict[str, float]:
  """Seconds by part of one call of a compiled program.

  Args:
    compiled: the program.
    run: calls it once; `jax.block_until_ready` is left to this function.
  """
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      jax.block_until_ready(run())
    return read_trace(folder, instructions(compiled.as_text()))
