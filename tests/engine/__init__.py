"""The program on the real Pulumi engine, over providers of ours."""
