"""Other people's weight files → linnet's checkpoint. One module a source; each names what it cannot read."""
