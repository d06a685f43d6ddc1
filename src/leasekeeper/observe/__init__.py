"""What operators see: statistics, and the catalogue of metrics."""
