"""Other frameworks' interfaces over our collections and embedders, each in an extra of its own."""
