"""What a tag, a requirement or a marker allows."""
