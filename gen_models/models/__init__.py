"""One file per family; a class bears its paper's name."""
