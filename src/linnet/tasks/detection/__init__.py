"""Where on a picture objects are, and of which class."""
