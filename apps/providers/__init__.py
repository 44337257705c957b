"""Model providers at the edge: plain Python, no Django, no ORM, no requests of ours."""
