"""What runs in the pods: provisions a model, serves it, answers documents. Knows no pulumi."""
