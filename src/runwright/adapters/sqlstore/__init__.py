"""What the stores on SQL databases share: all but connections, errors and the text of queries."""
