"""Tables in text files and .xlsx workbooks, read as a stream: cells of the columns asked for, and nothing else."""
