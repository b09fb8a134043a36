"""A page and an address: photos come in by HTTP, worker processes make meshes of them."""
