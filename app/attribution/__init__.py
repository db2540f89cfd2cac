"""What the Attribution tab is made of: from the clips of a video down to cells and words, and whether the maps can be trusted."""
