"""The reader of ELF against glibc's loader, on libraries that lie."""
