"""Texts in files → vector files, streaming and resumable.

options.py     what a user chooses, and every default
lines.py       bytes → decoded lines with their numbers
table.py       what a table of texts is, and which of its columns are used
reading.py     names → tables (row_files.py, json_lines.py, arrow_files.py), checked before any work
windows.py     rows → windows, read ahead on a thread, with a hash over everything read
workfolder.py  OUT.partial/: a lock, a description, one durable shard for each embedded window
destination.py what can be wrong with an output
writing.py     shards → .parquet, .arrow, .npy and .npz (array_writing.py), .jsonl (json_writing.py)
job.py         a job, checked; running.py does it, or the rest of it
"""
