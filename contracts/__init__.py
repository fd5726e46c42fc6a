"""What everyone may know: events, read models, ports and wire shapes, all pure."""
