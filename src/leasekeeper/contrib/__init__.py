"""Adapters to other libraries. Each module needs its library, and nothing imports it unless you do."""
