"""Pictures of results for screen and print; `clipbert.viz.figures` holds the public names."""
