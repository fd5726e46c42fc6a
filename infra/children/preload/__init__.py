"""What children of several functions need, imported: what a process does before it forks them."""
