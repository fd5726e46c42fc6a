"""What several functions need; it knows no driver and no function."""
