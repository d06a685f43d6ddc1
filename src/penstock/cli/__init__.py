"""The command line: `penstock run|local|demo|send|peek|redrive|doctor`."""
