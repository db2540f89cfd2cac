"""One visual language: system fonts, Okabe-Ito colours, light and dark; readable at 390 px.  Nothing is fetched from elsewhere."""

import html

import gradio as gr

from clipbert.viz.style import THEMES

LIGHT, DARK = THEMES["light"], THEMES["dark"]


def theme() -> gr.themes.Base:
    """The app's theme, in the colours of the charts; those of states are in style.css, as variables that change with the mode."""
    system = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    return gr.themes.Base(
        primary_hue=gr.themes.Color(
            "#eef6fb", "#d6eaf5", "#aed5eb", "#7fbcdf", "#4a9fd0", LIGHT.series[0], "#00659e", "#00547f", "#004366", "#00344f", "#00283d"
        ),
        neutral_hue="slate",
        radius_size="sm",
        font=system,
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    ).set(
        button_primary_background_fill="*primary_500",
        button_primary_background_fill_hover="*primary_600",
        button_primary_background_fill_dark="*primary_500",
        button_primary_text_color="white",
        block_label_text_size="*text_sm",
        body_background_fill="#fafbfc",
        body_background_fill_dark="#11151a",
        block_background_fill_dark="#181d24",
        background_fill_primary_dark="#181d24",
        background_fill_secondary_dark="#11151a",
        input_background_fill_dark="#232b35",
        button_secondary_background_fill_dark="#333e4b",
        block_info_text_color=LIGHT.faint,
        block_info_text_color_dark=DARK.faint,
        body_text_color_subdued=LIGHT.faint,
        body_text_color_subdued_dark=DARK.faint,
    )


def banner_html(level: str, text: str) -> str:
    """The model's name and honesty line, which stays above every tab."""
    return f'<div class="banner {level}" role="status">{html.escape(text)}</div>'
