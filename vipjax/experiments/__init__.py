"""What is built of stages: many runs, judged and compared."""
