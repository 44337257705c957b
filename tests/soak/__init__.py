"""The soak: many people use a running Bough for an hour while everything under it breaks at random; then all is counted."""
