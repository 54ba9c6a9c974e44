"""Of which class every pixel of a picture is."""
