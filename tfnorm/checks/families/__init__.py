"""The rules, a file a family. Each is a function of a `Subject` that yields what it finds."""
