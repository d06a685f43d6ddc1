"""A Django project with consumers and tasks."""
