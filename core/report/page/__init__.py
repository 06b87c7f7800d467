"""HTML pages in one file each: sections, charts as inline SVG, images as data URIs."""
