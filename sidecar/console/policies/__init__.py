"""The route tables that nodes run: held by digest, compared, reviewed, asked."""
