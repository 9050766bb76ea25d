"""``rotator audit``: one file for each format, and the command that all share."""
