"""The management command; Django looks for it here."""
