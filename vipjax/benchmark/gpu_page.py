"""The page and the JSON of what `gpu_check` has measured."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from vipjax.benchmark.gpu_check import PARTS, PLACES, Sizes
from vipjax.runtime import files
from vipjax.runtime.markdown import markdown_table

NOT_MEASURED = "not measured"
FINETUNE_STEPS, POLICY_STEPS = 100_000, 2_000_000  # of configs/paper.py
_BEGIN, _END = "<!-- gpu_check -->", "<!-- /gpu_check -->"


def write_page(sizes: Sizes, folder: pathlib.Path, page: pathlib.Path | None = None) -> str:
  """Gathers what the parts have written into `check.json` and a table.

  Args:
    sizes: which the parts measured.
    folder: of the parts; gets `check.json`, in whose place the parts' files go, and `check.md`.
    page: a page with the lines `<!-- gpu_check -->` and `<!-- /gpu_check -->`, between which the
      table goes; None for none.

  Returns:
    The table.
  """
  known = files.read_json(folder / "check.json", {}).get("parts", {})
  measured = {name: folder / f"check_{name}.json" for name in PARTS}
  measured = {name: path for name, path in measured.items() if path.exists()}
  parts = known | {name: files.read_json(path) for name, path in measured.items()}
  found = {name: part["found"] for name, part in parts.items()}
  estimate = extrapolate(found)
  files.write_json(folder / "check.json", {"parts": parts, "extrapolated": estimate})
  for path in measured.values():
    path.unlink()
  text = table(found, estimate, expected(sizes))
  if parts:
    versions = [part["versions"] for part in parts.values()]
    devices = ", ".join(sorted({device for each in versions for device in each["devices"]}))
    commits = ", ".join(sorted({str(each["git_commit"]) for each in versions}))
    text = f"On {devices}; commit {commits}; {versions[0]['date']}.\n\n{text}"
  files.write_text(folder / "check.md", text + "\n")
  if page is not None:
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    files.write_text(page, f"{before}{_BEGIN}\n{text}\n{_END}{after}")
  return text


def extrapolate(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float | str]:
  """Minutes of configs/paper.py's stages at the rates of the parts; evaluations are left out."""
  step = found.get("training", {}).get("published step: ms")
  rate = found.get("policy", {}).get("policy loop: steps/s")
  return {
    f"configs/paper.py, {FINETUNE_STEPS:,} fine-tuning steps: minutes": (
      NOT_MEASURED if step is None else FINETUNE_STEPS * step / 60_000
    ),
    f"configs/paper.py, {POLICY_STEPS:,} policy steps: minutes": (
      NOT_MEASURED if rate is None else POLICY_STEPS / rate / 60
    ),
  }


def expected(sizes: Sizes) -> dict[str, list[str]]:
  """The rows that a part gives in any case, for the table of one that did not end."""
  largest = sizes.batches[-1]
  names = ["published step", *(f"{clips} clips" for clips, _ in sizes.clips[1:])]
  return {
    "drawing": [
      f"{quality}, {size} px, drawn by {who}: steps/s"
      for quality, size in sizes.drawn
      for who in ("workers", "one process")
    ],
    "training": [*(f"{name}: ms" for name in names), "published step, compilation: s"],
    "embedding": [
      *(f"{n} frames, {where}: ms" for n in sizes.batches for where in PLACES),
      f"{largest} frames, compilation: s",
      "ValueFunction.embed: frames/s",
    ],
    "agents": [f"agents at once: {count}; us for one update of each" for count in sizes.agents],
    "policy": ["policy loop: steps/s"],
    "demo": ["demo: s"],
  }


def table(
  found: Mapping[str, Mapping[str, Any]],
  estimate: Mapping[str, float | str],
  rows: Mapping[str, list[str]],
) -> str:
  """Returns the table of all parts and, below it, one of the profiles."""
  cells, profiles = [], {}
  for part, names in rows.items():
    given = found.get(part, {})
    profiles |= {name: shares for name, shares in given.items() if isinstance(shares, Mapping)}
    further = [name for name in given if name not in names and name not in profiles]
    cells += [(name, _shown(given.get(name, NOT_MEASURED))) for name in [*names, *further]]
  cells += [(name, _shown(value)) for name, value in estimate.items()]
  text = markdown_table(("what", "measured"), cells)
  if profiles:
    parts = list(dict.fromkeys(part for shares in profiles.values() for part in shares))
    lines = [
      (part, *(_shown(shares.get(part, 0.0)) for shares in profiles.values())) for part in parts
    ]
    text += "\n\n" + markdown_table(("part of the step", *profiles), lines)
  return text


def _shown(value: float | str) -> str:
  if isinstance(value, str):
    return value
  return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
