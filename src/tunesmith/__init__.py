"""Tunesmith: supervised fine-tuning that proves what it does."""
