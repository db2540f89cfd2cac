"""The explorer: a Gradio app over the clipbert package.  README.md tells how a tab is written."""
