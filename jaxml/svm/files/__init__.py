"""Files of libsvm and liblinear, both ways."""
