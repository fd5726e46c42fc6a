"""Where Temper runs: settings, the composition root, adapters, the local stack, the command line."""
