"""What a person asked for: the request, the view, the choices on a page."""
