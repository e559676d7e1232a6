"""Decisions and policies drawn for people: self-contained SVG and HTML, made by authoring commands alone."""
