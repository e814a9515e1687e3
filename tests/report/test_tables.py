"""Numbers in words, and the table at the end of a pipeline."""

import pytest

from tests.report.runs import RESULTS
from vipjax.report import format_results, tables


def lines_of(results):
  """{name: text} of the table's lines."""
  lines = [line for line in format_results(results).splitlines() if "  " in line]
  return dict((part.strip() for part in line.split("  ", 1)) for line in lines)


def test_the_table_tells_what_the_run_came_to():
  lines = lines_of(RESULTS)
  assert lines["policy success"] == "90%"
  assert lines["rank correlation with time, unseen episodes"] == "0.981 (0.412 before fine-tuning)"
  assert lines["other, slide"] == "0.5"
  assert lines["policy, time"] == "2 h 03 min"
  # 12.34 + 65 + 1 + 7384 s.
  assert lines["all stages, time"] == "2 h 04 min"
  assert lines["peak memory"] == "3.0 GiB"
  assert lines["seeds"] == "3"
  assert lines["addition: reward.scale"] == "10"
  # The same number under two names is told once, and the report has no time of its own.
  assert format_results(RESULTS).count("0.412") == 1
  assert "report, time" not in lines
  assert format_results(RESULTS).splitlines()[-1].startswith("note: <script>")


def test_seeds_at_once_are_told_where_they_differ():
  agents = [
    {"seed": 3, "policy_success": 0.9, "episodes": 20, "policy_steps_to_success": 4.0},
    {"seed": 4, "policy_success": 1.0, "episodes": 20, "policy_steps_to_success": None},
  ]
  results = {"policy_success": 0.95, "episodes": 20, "policy_steps_to_success": 4.0}
  lines = lines_of({**results, "agents": agents})
  assert lines["policy success"] == "95% (seeds 3, 4: 90%, 100%)"
  assert lines["evaluation episodes"] == "20"
  assert lines["policy, steps to success"] == "4 (seeds 3, 4: 4, none)"
  assert not any(name.startswith("agents") for name in lines)


def test_columns_are_aligned():
  lines = [line for line in format_results({"policy_success": 1.0}).splitlines() if line]
  starts = {len(line) - len(line.split("  ")[-1].lstrip()) for line in lines}
  assert len(lines) == 7 and len(starts) == 1


def test_what_is_missing_has_not_run_and_what_is_null_is_none():
  lines = lines_of({"policy_steps_to_success": None})
  assert lines["policy success"] == "not run"
  assert lines["rank correlation with time, unseen episodes"] == "not run"
  assert lines["policy, steps to success"] == "none"
  assert lines["record, time"] == "not run"
  assert lines["peak memory"] == "not run"
  assert "all stages, time" not in lines


@pytest.mark.parametrize(
  ("value", "key", "text"),
  [
    (0.123456, "", "0.123"),
    (0.95, "policy_success", "95%"),
    (97.3, "policy_steps_to_success", "97.3"),
    (0.5, "policy_steps_to_success", "0.5"),
    (45_000, "env_steps", "45,000"),
    (45_000, "seed", "45000"),
    (123456.7, "", "123,457"),
    (True, "", "on"),
    ([], "", "none"),
    ("", "", "none"),
    (list(range(14)), "", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"),
    ({"run": 0, "unseen": [1, 2]}, "seeds", "run 0, unseen 1, 2"),
  ],
)
def test_values_as_people_write_them(value, key, text):
  assert tables.value_text(value, key) == text


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    (0.04, "0.0 s"),
    (59.94, "59.9 s"),
    (59.96, "1 min 00 s"),
    (119.6, "2 min 00 s"),
    (3599.4, "59 min 59 s"),
    (3599.6, "1 h 00 min"),
    (7170.0, "2 h 00 min"),
    (None, "not run"),
  ],
)
def test_durations_round_over_to_the_next_unit(seconds, text):
  assert tables.duration_text(seconds) == text


def test_memory():
  assert [tables.memory_text(m) for m in (850.2, 2150.4, None)] == ["850 MiB", "2.1 GiB", "not run"]
