"""The shells around the core: each drives one core object on the engine's loop."""
