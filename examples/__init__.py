"""Three small models on real data, and a server that answers with them."""
