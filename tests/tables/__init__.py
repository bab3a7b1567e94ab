"""Reading texts from files, writing vector files, and the job between them."""
