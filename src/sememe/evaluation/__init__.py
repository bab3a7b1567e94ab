"""Whether a model is good for some data: tasks from files, metrics, results with intervals."""
