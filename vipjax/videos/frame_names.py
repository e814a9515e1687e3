"""The order of images by the numbers in their names, and their times where names tell these.

Names of frames are read otherwise than those of other files (`access.natural_key`): in a sequence
"1.25" is a number and comes before "1.3"; among other names "v1.10" is a version and comes after
"v1.9".
"""

from __future__ import annotations

import datetime
import pathlib
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from vipjax.runtime.errors import UserError
from vipjax.types import Video
from vipjax.videos.access import natural_key

_PART = r"(?:[.,](?P<part>\d{1,9})|[_-]?(?P<other_part>\d{9}|\d{6}|\d{3}))?(?!\d)"
# A date with a time of day, in digits alone or with signs between them; a time without a date, told
# by colons, letters or a point at its end; a number, maybe with an exponent as Python writes it: a
# sign and at least two digits.
_TOKEN = re.compile(
  r"(?<!\d)(?P<date>(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?[0-3]\d)[T_ -]{0,2}"
  r"(?P<clock>[0-2]\d[-_:h]?[0-5]\d[-_:m]?[0-5]\d)s?" + _PART + "|"
  r"(?<!\d)(?P<timer>\d+(?::\d\d:|h\d\dm|-\d\d-(?=\d\d\.))\d\d)s?"
  + _PART.replace("part", "timer_part")
  + r"|(?P<number>(?:(?:^|(?<=[_=]))-)?\d+(?:\.\d+)*(?P<exponent>e[+-]\d\d+)?)"
)
_NUMBER = re.compile(r"(?P<number>\d+)")
# What may stand right before a number with a point; after other letters that is a version.
_BEFORE_TIMES = ("t", "ts", "s", "sec", "time", "stamp", "timestamp")
# Whole numbers in these ranges are seconds since 1970, or 1,000ths, 1,000,000ths, ... of them.
_YEARS = (946_684_800, 4_102_444_800)  # 2000 to 2100
_MOST_FPS = 1000  # Faster than any camera: such decimals count.


class _Value(NamedTuple):
  """One number of a name; the digits after its point are apart, as they may count by themselves."""

  whole: Decimal
  part: str = ""
  is_time: bool = False
  is_version: bool = False

  @property
  def decimal(self) -> Decimal:
    part = Decimal(f"0.{self.part or 0}")
    return self.whole - part if self.whole.is_signed() else self.whole + part


def in_sequence(
  folder: pathlib.Path, images: Sequence[pathlib.Path]
) -> tuple[list[pathlib.Path], np.ndarray | None]:
  """The images of one sequence in the order of the numbers in their names.

  A decimal number ("12.5.png", "cam0_1718000000.25.png"), a whole number of seconds since 1970 or
  of parts of them, a date with a time of day, and a time such as "00:01:02.5" are times. Other
  whole numbers count frames; where they do so unevenly without one being missing (33, 67, 100:
  steps that are no multiples of the smallest), they are times in a unit that is not known, and
  frames follow one another at `Video`'s default rate in the mean.

  Args:
    folder: where they are, for messages.
    images: at least one.

  Returns:
    The images, and float64 [T], seconds of each from the first; None where names tell no times.

  Raises:
    UserError: a name without a number, of another sequence than the others, or with numbers that
      another has; frames that are missing.
  """
  for image in images:
    if not re.search(r"\d", image.stem):
      raise UserError(
        f"expected numbered images in {folder}, got {image.name} without a number; number it or "
        "move it away."
      )
  columns = _columns(folder, images)
  placed: dict[tuple[Decimal, ...], pathlib.Path] = {}
  for image, *key in zip(images, *(values for values, _ in columns), strict=True):
    other = placed.setdefault(tuple(key), image)
    if other is not image:
      raise UserError(
        f"expected each frame number once in {folder}, got one for {other.name} and {image.name}; "
        "remove one of them."
      )
  keys = sorted(placed)
  ordered = [placed[key] for key in keys]
  varying = [column for column in range(len(columns)) if len({key[column] for key in keys}) > 1]
  for column in varying:
    if columns[column][1]:
      seconds = [key[column] - keys[0][column] for key in keys]
      if seconds == sorted(set(seconds)):
        return ordered, np.array(seconds, np.float64)
  if len(varying) != 1:
    return ordered, None  # One image, or several numbers that count, such as seconds and frames.
  return ordered, _uneven(folder, ordered, [key[varying[0]] for key in keys])


def _columns(
  folder: pathlib.Path, images: Sequence[pathlib.Path]
) -> list[tuple[list[Decimal], bool]]:
  """The numbers of all names, place by place, and whether they are seconds."""
  read = [_read(image.stem, _TOKEN) for image in images]
  # What is not a date and time in every name is so in none.
  if None in read or len({pattern for pattern, _ in read}) > 1:
    read = [_read(image.stem, _NUMBER) for image in images]
  patterns = {pattern: image for (pattern, _), image in zip(read, images, strict=True)}
  if len(patterns) > 1:
    first, second = sorted((image.name for image in patterns.values()), key=natural_key)[:2]
    raise UserError(
      f"expected one sequence of images in {folder}, got {first} and {second}, which belong to "
      "different ones; give each its own folder."
    )
  columns = []
  for column in zip(*(values for _, values in read), strict=True):
    wholes, parts = [value.whole for value in column], [value.part for value in column]
    if not any(parts):
      columns.append((wholes, column[0].is_time))
    elif _counts(column):
      columns += [(wholes, column[0].is_time), ([Decimal(part or 0) for part in parts], False)]
    else:
      columns.append(([value.decimal for value in column], True))
  return [(values, True) if is_time else _since_1970(values) for values, is_time in columns]


def _read(stem: str, token: re.Pattern) -> tuple[str, list[_Value]] | None:
  """A name with its numbers as #, and the numbers; None where what looks like a date is none."""
  values: list[_Value] = []
  pattern, end = "", 0
  for match in token.finditer(stem):
    before = stem[end : match.start()]
    pattern, end = pattern + before, match.end()
    found = match.groupdict()
    if found["number"] is not None:
      read = _numbers(found, before)
    else:
      read = _moment(found)
      if read is None:
        return None
    values += read
    pattern += ".".join("#" * len(read))
  return pattern + stem[end:], values


def _numbers(found: dict[str, str | None], before: str) -> list[_Value]:
  """One number, or those of "1.2.3"."""
  text = found["number"] or ""
  if found.get("exponent"):
    return [_Value(Decimal(text), is_time=True)]
  if text.count(".") > 1:
    return [_Value(Decimal(each)) for each in text.split(".")]
  word = re.search(r"[^\W\d_]*$", before)
  is_version = bool(word and word[0]) and word[0].lower() not in _BEFORE_TIMES
  whole, _, part = text.partition(".")
  return [_Value(Decimal(whole), part, is_version=is_version)]


def _moment(found: dict[str, str | None]) -> list[_Value] | None:
  """A date with a time of day, or a time: one number of seconds; None where it is neither."""
  if found["timer"]:
    hours, minutes, seconds = map(int, re.findall(r"\d+", found["timer"]))
    part = found["timer_part"] or found["other_timer_part"] or ""
    return [_Value(Decimal(3600 * hours + 60 * minutes + seconds), part, is_time=True)]
  digits = re.sub(r"\D", "", f"{found['date']}{found['clock']}")
  part = found["part"] or found["other_part"] or ""
  # "20240101_000001" goes on to count.
  if found["clock"] in ("000000", "000001") and not part:
    return None
  try:
    moment = datetime.datetime.strptime(f"{digits}+0000", "%Y%m%d%H%M%S%z")
  except ValueError:
    return None
  return [_Value(Decimal(int(moment.timestamp())), part, is_time=True)]


def _counts(column: Sequence[_Value]) -> bool:
  """True where digits after the point count on their own: "v2.0001", or from 1.9 to 1.10."""
  if any(value.is_version for value in column):
    return True
  if all(_YEARS[0] <= value.whole < _YEARS[1] and not value.is_time for value in column):
    return False
  parts = [value.part for value in column]
  # Decimals of one width may end in zeros; Python's own have different widths, and never do.
  if len({len(part) for part in parts if part}) > 1 and any(
    len(part) > 1 and part.endswith("0") for part in parts
  ):
    return True
  values = [value.decimal for value in column]
  span = max(values) - min(values)
  return len(values) > 1 and span * _MOST_FPS <= len(values) - 1


def _since_1970(values: list[Decimal]) -> tuple[list[Decimal], bool]:
  """Whole numbers as seconds where they are times since 1970, and whether they are."""
  first, last = _YEARS
  for unit in (1, 1000, 10**6, 10**9):
    if all(first * unit <= value < last * unit for value in values):
      return [value / unit for value in values], True
  return values, False


def _uneven(
  folder: pathlib.Path, images: Sequence[pathlib.Path], numbers: Sequence[Decimal]
) -> np.ndarray | None:
  """Times of images numbered unevenly; None of even ones (every second or tenth frame is fine).

  Raises UserError where frames are missing: pairs of neighbours would not be alike any more.
  """
  steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
  smallest = min(steps)
  if max(steps) == smallest:
    return None
  if any(step % smallest for step in steps):
    return np.array([number - numbers[0] for number in numbers], np.float64) / (
      float(sum(steps)) / len(steps) * Video.fps
    )
  place = next(index for index, step in enumerate(steps) if step > smallest)
  raise UserError(
    f"expected images numbered evenly in {folder}, got {images[place + 1].name} after "
    f"{images[place].name}, where others are {smallest} apart; restore the missing ones, or "
    "number them anew if none is missing."
  )
