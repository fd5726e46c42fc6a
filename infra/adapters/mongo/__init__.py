"""MongoDB: read models, control documents, requests, secrets."""
