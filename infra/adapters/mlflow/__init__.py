"""MLflow: where runs are compared."""
