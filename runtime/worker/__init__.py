"""The worker: takes documents from the queue to the model and puts exactly one result for each."""
