"""Paper 004: faces in other poses, made and measured."""
