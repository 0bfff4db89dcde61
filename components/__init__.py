"""What `pulumi up` creates: one component per file, and the pure modules that they stand on."""
