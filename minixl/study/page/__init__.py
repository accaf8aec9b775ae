"""A recorded training step as one HTML page: page.html of `minixl study page`."""
