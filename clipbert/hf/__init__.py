"""Models of transformers behind `clipbert.per_clip.PerClipModel`: one small adapter for each family of `clipbert.hf.families`."""
