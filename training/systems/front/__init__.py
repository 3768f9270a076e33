"""The networks that find and follow faces: landmarks and detector."""
