"""Folders of pictures: `listing` says which there are, `pictures` reads one, `loading` all of them into memory."""
