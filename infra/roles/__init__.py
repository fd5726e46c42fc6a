"""The composition roots: what each process runs, with its ports made real."""
