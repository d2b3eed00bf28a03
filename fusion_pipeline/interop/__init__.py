"""Other libraries' file formats, read and written: one folder a format."""
