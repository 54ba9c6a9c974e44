"""Files → samples: which picture is of which class."""
