"""What users and operators see: subscribers of the engine's events, and statistics made of its snapshots."""
