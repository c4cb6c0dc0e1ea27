"""Downloads of data sets: verified, resumable transfers and safe extraction of archives."""
