"""Manifests for Kubernetes and Amazon ECS, written from the options of consumers."""
