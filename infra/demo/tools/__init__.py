"""What made the demo base; nothing of it runs in operation."""
