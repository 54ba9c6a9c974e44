"""Which class a whole picture has."""
