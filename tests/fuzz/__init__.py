"""Fuzzing: whatever the bytes, a right answer or one domain error, in bounded time and memory."""
