"""Text to tile programs: the inverse of ``tile.text``. ``grammar.lark`` has the syntax."""
