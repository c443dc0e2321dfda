"""The HTTP tap filter: records whole exchanges, bodies included, for files and for whoever asks at the admin."""
