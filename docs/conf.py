"""How Sphinx builds the site: python -m sphinx -W --keep-going docs build/docs."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent), str(DOCS.parent / "plugins")]

from zoo.version import __version__  # noqa: E402 - found by the line above

project = "Image-text matching zoo"
author = "its contributors"
project_copyright = "its contributors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "zoo_docs"]
exclude_patterns = ["zoo_docs"]

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # GitHub renders such a fence too
myst_heading_anchors = 4
html_math_renderer = "mathml"  # at build time: no script, and nothing to fetch

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
default_role = "py:obj"  # a name in backticks is a link where its object is documented
smartquotes = False  # two hyphens are an option, not a dash
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other packages, private names

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["models.js"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6e6e",
        "color-brand-content": "#0b6e6e",
        "color-brand-visited": "#5c4a86",
    },
    "dark_css_variables": {
        "color-brand-primary": "#5fd0c5",
        "color-brand-content": "#5fd0c5",
        "color-brand-visited": "#bba6ea",
    },
}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
