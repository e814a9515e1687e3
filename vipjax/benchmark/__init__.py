"""Speed of all parts, compared with other packages and with the machine's peak."""

from vipjax.benchmark.bench import run_suite

__all__ = ["run_suite"]
