"""What a model says of any number of pictures, in Parquet: written as it comes, gone on with after any stop."""
