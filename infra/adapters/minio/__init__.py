"""S3: blobs and the access of outside systems."""
