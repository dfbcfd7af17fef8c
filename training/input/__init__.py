"""From images to batches of views: the tf.data pipeline, and the service that spreads it."""
