"""How every REST answer of this project looks: strict input, cursor pages, problems, the schema."""
