"""Results of a suite, as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from vipjax.benchmark.floor import Cost, Peak
from vipjax.benchmark.measure import Spread, ratios, spread
from vipjax.runtime import files
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.markdown import markdown_table
from vipjax.runtime.versions import current_versions

OURS = "vipjax"


@dataclasses.dataclass(frozen=True)
class Case:
  """One measurement, for our package and every peer that ran.

  Attributes:
    name: name of the work.
    unit: unit of the work, such as "frames".
    amount: number of units in a run.
    seconds: seconds of each repeat, by contender, ours first.
    cost: cost of our program; None if it is not a single program.
    memory_mb: peak resident memory of a contender's processes, libraries included, by contender.
    facts: further JSON-able values.
  """

  name: str
  unit: str
  amount: float
  seconds: Mapping[str, Sequence[float]]
  cost: Cost | None
  memory_mb: Mapping[str, float]
  facts: Mapping[str, Any]

  def rate(self, who: str) -> Spread:
    """Returns units per second."""
    return spread([self.amount / seconds for seconds in self.seconds[who]])

  def advantage(self, who: str) -> Spread:
    """Returns this contender's seconds over ours, turn by turn."""
    return ratios(self.seconds[who], self.seconds[OURS])

  def floor_reached(self, peak: Peak) -> float | None:
    """Returns our program's least time over the median of its times."""
    least = self.cost and self.cost.floor_seconds(peak)
    return None if least is None else least / spread(self.seconds[OURS]).median


@dataclasses.dataclass(frozen=True)
class SuiteResult:
  """All results of a suite.

  Attributes:
    suite: the suite's name.
    about: explanation of its numbers.
    cases: the measurements.
    skipped: reasons by name for skipped peers and arms.
    peak: the machine's peak in the same run.
    tables: further tables by title, each a list of rows with the same keys.
    facts: further JSON-able values, which stand in the JSON alone.
    picture: a PNG, written beside the page and shown in it; None for none.
  """

  suite: str
  about: str
  cases: Sequence[Case]
  skipped: Mapping[str, str]
  peak: Peak
  tables: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  picture: bytes | None = None


def write(result: SuiteResult, folder: str | os.PathLike, command: str) -> pathlib.Path:
  """Writes `<suite>.json` and `<suite>.md` into the folder, and `<suite>.png` if it has a picture.

  Args:
    result: the suite's results.
    folder: made if missing; the function replaces earlier results of the suite.
    command: the command that measured them.

  Returns:
    The path of the table.
  """
  versions = {**current_versions(), "cores": os.cpu_count(), "usable_cores": usable_cores()}
  cases = [
    {
      **dataclasses.asdict(case),
      "rates": {who: dataclasses.asdict(case.rate(who)) for who in case.seconds},
      "advantages": {
        who: dataclasses.asdict(case.advantage(who)) for who in case.seconds if who != OURS
      },
      "floor_reached": case.floor_reached(result.peak),
    }
    for case in result.cases
  ]
  record = {
    "suite": result.suite,
    "command": command,
    "versions": versions,
    "peak": dataclasses.asdict(result.peak),
    "skipped": dict(result.skipped),
    "cases": cases,
    "tables": {title: list(rows) for title, rows in result.tables.items()},
    **({"facts": dict(result.facts)} if result.facts else {}),
  }
  path = pathlib.Path(folder).expanduser() / f"{result.suite}.md"
  files.write_json(path.with_suffix(".json"), record)
  if result.picture is not None:
    files.write_bytes(path.with_suffix(".png"), result.picture)
  files.write_text(path, markdown(result, command, versions))
  return path


def markdown(result: SuiteResult, command: str, versions: Mapping[str, Any]) -> str:
  """Returns the result as a Markdown page."""
  packages, peak = versions["packages"], result.peak
  shown = [name for name in ("jax", "flax", "mujoco") if name in packages]
  known = ", ".join(f"{name} {packages[name]}" for name in shown)
  lines = [
    f"# Benchmark: {result.suite}",
    "",
    result.about,
    "",
    f"`{command}` on {', '.join(sorted(set(versions['devices'])))}, {versions['usable_cores']} "
    f"cores; Python {versions['python']}, {known}; commit {versions['git_commit']}; "
    f"{versions['date']}.",
    "",
    f"In the same run the machine did {_number(peak.operations / 1e9)} G operations/s (a "
    f"{peak.dtype} matrix product) and moved {_number(peak.bytes / 1e9)} GB/s (in memory).",
    "",
  ]
  if result.cases:
    lines += [
      'Rates are medians with their quartiles; "times as fast" is our rate over theirs, turn by'
      " turn: median (least to most). Floor reached: the least time of our operations and bytes at"
      " those peaks, over the measured time. Memory is the peak of the processes, libraries"
      " included.",
      "",
      _table(_rows(result)),
      "",
    ]
  if result.picture is not None:
    lines += [f"![{result.suite}]({result.suite}.png)", ""]
  for title, rows in result.tables.items():
    lines += [f"## {title}", "", _table(rows), ""]
  lines += [f"Skipped: {name} ({reason})." for name, reason in result.skipped.items()]
  return "\n".join(lines).rstrip() + "\n"


def _rows(result: SuiteResult) -> list[dict[str, str]]:
  rows = []
  for case in result.cases:
    for who in case.seconds:
      rate, reached = case.rate(who), case.floor_reached(result.peak)
      floor = "" if who != OURS or case.cost is None else "not counted"
      if who == OURS and reached is not None:
        floor = f"{reached:.0%}"
      advantage = "" if who == OURS else _times(case.advantage(who))
      rows.append({
        "what": case.name if who == OURS else "",
        "who": who,
        "rate": f"{_number(rate.median)} {case.unit}/s",
        "quartiles": f"{_number(rate.lower_quartile)} to {_number(rate.upper_quartile)}",
        "we are times as fast": advantage,
        "floor reached": floor,
        "memory, MiB": _number(case.memory_mb[who]) if who in case.memory_mb else "",
      })  # fmt: skip
  return rows


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
  if not rows:
    return "(nothing measured)"
  texts = [
    [_number(cell) if isinstance(cell, float) else str(cell) for cell in row.values()]
    for row in rows
  ]
  return markdown_table(list(rows[0]), texts)


def _times(advantage: Spread) -> str:
  least, most = _number(advantage.least), _number(advantage.most)
  return f"{_number(advantage.median)} ({least} to {most})"


def _number(value: float) -> str:
  """Returns a number with three significant digits, without an exponent."""
  if value and abs(value) < 100:
    return f"{value:#.3g}".rstrip(".")
  return f"{value:,.0f}"
