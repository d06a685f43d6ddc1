"""Where handlers run: they answer with an outcome and never acknowledge."""
