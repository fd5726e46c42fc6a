"""What runs functions: leases, folds, reconciliation, health."""
