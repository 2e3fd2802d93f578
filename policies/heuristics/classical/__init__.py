"""Textbook laws of queues, made into rules."""
