"""The program's objects on a real Kubernetes with a real KEDA; README.md says what that shows."""
