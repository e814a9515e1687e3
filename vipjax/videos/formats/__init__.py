"""Other people's formats, and our folders: one file a format, which reads, writes and labels it.

- `folders`: numbered images; `videos.json`, as `write_videos` makes it; VIP's `manifest.csv`.
- `lerobot`: parquet and mp4; `hub` fetches such data sets from the Hugging Face hub.
- `rlds`: TFDS data sets and TFRecord files, as in Open X-Embodiment.
- `robomimic`: HDF5.

A format that can be copied with a value function's numbers beside its frames has `LABEL_PREFIX`,
`check_columns` and `copy_with_columns`. `fields` checks metadata as they are asked for; `episodes`
groups videos, and new columns, by episode.
"""
