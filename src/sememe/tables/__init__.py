"""Texts in files → vector files, streaming and resumable.

lines.py    bytes → decoded lines with their numbers
reading.py  inputs → `Table`s: rows of texts and the columns that go along (row_files.py, arrow_files.py)
windows.py  rows → windows, read ahead on a thread, with a hash over everything read
workfolder.py  OUT.partial/: a lock, a description, one durable shard for each embedded window
writing.py  shards → .npy, .npz, .jsonl, .parquet, .arrow (json_fields.py: JSON records → columns)
job.py      the whole: check, embed what is missing, put together, rename
"""
