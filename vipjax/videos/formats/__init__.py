"""Other people's formats, and our folders: one file a format, which reads, writes and labels it.

- `folders`: numbered images; `videos.json`, as `write_videos` makes it; VIP's `manifest.csv`.
- `lerobot`: parquet and mp4; `hub` fetches such data sets from the Hugging Face hub.
- `rlds`: TFDS data sets and TFRecord files, as in Open X-Embodiment.
- `robomimic`: HDF5.

`fields` checks metadata as it is asked for; `episodes` groups videos, and labels, by episode.
"""
