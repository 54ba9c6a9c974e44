"""Films and cameras: frames in, a film with what was found on it out. Needs the extra `video`."""
