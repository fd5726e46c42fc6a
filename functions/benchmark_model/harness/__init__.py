"""Tasks of the LM Evaluation Harness, offline: what a bundle holds, the models asked, every answer kept."""
