"""The queries of the board, one file per subject. They read the views of the analysts and return counts only."""
