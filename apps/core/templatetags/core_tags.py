"""Template tags of the frame: icons and the import map."""
from django import template

register = template.Library()
