"""Decisions: pure objects that are told what happened and when, and say what to do."""
