"""The Faust app of a role."""

import faust


class App(faust.App):
    """An app without tables, so it keeps nothing on the disk of its machine."""

    async def on_first_start(self) -> None:
        """Does not create the folders in which Faust keeps tables, as its own method does."""
