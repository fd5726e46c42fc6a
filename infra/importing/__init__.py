"""Fine-tuning files and jobs of another server that speaks OpenAI's API, brought here."""
