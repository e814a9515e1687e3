"""What is built of stages: many runs, judged and compared.

Each experiment takes the config that a file of configs/ makes and a run folder that
`run_folder.open_run` has opened. What is done is never done again.
"""
